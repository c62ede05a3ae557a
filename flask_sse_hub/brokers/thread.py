"""A real thread that does a broker's blocking work.

Greenlets that wait for an answer let other greenlets run; a greenlet that waited for
the disk or the network itself would stop all of them. This module knows calls, waiting
and stopping. It does not know what the work is.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import BrokerUnavailable, SSEHubError
from ..runtime import native, reply

# The most calls that are answered together.
_GROUP_CALLS = 256


class Call(reply.Reply):
    """One question to the thread, and its answer when it comes."""

    __slots__ = ("argument", "given_up")

    def __init__(self, argument: Any) -> None:
        super().__init__()
        self.argument = argument
        #: Whether the caller has stopped waiting. Such a call is not begun: its caller
        #: was told that it failed.
        self.given_up = False

    def answer(self, found: Any) -> None:
        """Answer with a value, or with an error that the caller raises."""
        if isinstance(found, Exception):
            self.fail(found)
        else:
            self.set(found)


class BrokerThread:
    """Answer calls in one real thread; calls that have gathered are answered together.

    ``answer`` receives a list of calls and answers each of them. ``finish`` releases
    resources after the last call. Both run in the thread, which starts with the first
    call; if there was no call, stop() runs ``finish``. A caller waits for about
    ``within`` seconds.
    """

    def __init__(
        self,
        answer: Callable[[list[Call]], None],
        *,
        finish: Callable[[], None],
        within: float,
    ) -> None:
        self._answer = answer
        self._finish = finish
        self._within = within
        self._calls: deque[Call] = deque()
        self._flag = native.NativeFlag()
        # Guards _running and _stopped.
        self._lock = native.native_lock()
        self._running = False
        self._stopped = False

    def ask(self, argument: Any) -> Any:
        """Return the thread's answer, or raise the error that it answered with.

        Raises BrokerUnavailable if the broker is closed, if no thread can be started,
        or if there is no answer in time.
        """
        (call,) = self._call(argument)
        return self._answer_of(call)

    def ask_together(self, arguments: Sequence[Any]) -> list[Any]:
        """Return the thread's answer to each argument, or the error it answered with.

        The errors are those of ask(). One pause serves all arguments.
        """
        found: list[Any] = []
        try:
            calls = self._call(*arguments)
        except BrokerUnavailable as error:
            return [error] * len(arguments)
        for call in calls:
            try:
                found.append(self._answer_of(call))
            except SSEHubError as error:
                found.append(error)
        return found

    def _call(self, *arguments: Any) -> list[Call]:
        calls = list(map(Call, arguments))
        with self._lock:
            if self._stopped:
                raise BrokerUnavailable("the broker is closed")
            if not self._running:
                self._start()
            self._calls.extend(calls)
        self._flag.set()
        return calls

    def _answer_of(self, call: Call) -> Any:
        try:
            return call.wait(self._within)
        except TimeoutError as error:
            call.given_up = True
            raise BrokerUnavailable(
                f"the broker did not answer within {self._within:g} s; the outcome is"
                " unknown"
            ) from error

    def _start(self) -> None:
        try:
            native.start_thread(self._run)
        except RuntimeError as error:
            raise BrokerUnavailable(
                f"this process has no room for a thread ({error}); raise its limit of"
                " threads"
            ) from error
        self._running = True

    def stop(self) -> None:
        """Answer the calls that were made, release the resources and end the thread."""
        with self._lock:
            stopped, self._stopped = self._stopped, True
            if not stopped and not self._running:
                self._finish()
        self._flag.set()

    def _run(self) -> None:
        while self._calls or not self._stopped:
            self._flag.wait()
            while self._calls:
                count = min(len(self._calls), _GROUP_CALLS)
                gathered = [self._calls.popleft() for _ in range(count)]
                calls = [call for call in gathered if not call.given_up]
                if calls:
                    self._answer_all(calls)
        self._finish()

    def _answer_all(self, calls: list[Call]) -> None:
        try:
            self._answer(calls)
        except Exception as error:  # noqa: BLE001 - it is raised in each caller
            for call in calls:
                call.fail(error)
