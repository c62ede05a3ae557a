"""A real thread that does a broker's work, so that greenlets never wait all at once.

Does not know what the work is.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import BrokerUnavailable
from ..runtime import native, reply

# Calls that are answered together at the most.
_GROUP_CALLS = 256


class Call(reply.Reply):
    """What somebody asked, and waits for."""

    __slots__ = ("argument", "given_up")

    def __init__(self, argument: Any) -> None:
        super().__init__()
        self.argument = argument
        #: Whether nobody waits for it any more.
        self.given_up = False


class BrokerThread:
    """Answers calls in one real thread, several at once where they have gathered.

    ``answer`` answers each call, and ``finish`` is called at the end; both run in
    the thread. A caller waits for ``within`` seconds.
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
        # Guards the two below.
        self._lock = native.native_lock()
        self._running = False
        self._stopped = False

    def ask(self, argument: Any) -> Any:
        """Return the thread's answer; raises what it raises, and BrokerUnavailable."""
        call = Call(argument)
        with self._lock:
            if self._stopped:
                raise BrokerUnavailable("the broker is closed")
            if not self._running:
                self._start()
            self._calls.append(call)
        self._flag.set()
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
            raise BrokerUnavailable("this process has no room for a thread") from error
        self._running = True

    def stop(self) -> None:
        """Answer what was asked, and end."""
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
        except Exception as error:  # noqa: BLE001 - callers are told
            for call in calls:
                call.fail(error)
