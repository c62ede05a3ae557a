"""The courier: delivers the hooks that wait for one URL, one after the other.

Each worker has one for each URL. Those of one worker deliver, as the keeper says. Does
not know HTTP or signatures.
"""

import random
import threading
from collections.abc import Callable, Iterable

from ...errors import BrokerUnavailable
from ...events.record import Cursor, Record
from ...runtime.closing import Closed
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog, Trouble
from ...runtime.survival import surviving
from ..tally import Tally
from . import records
from .keeper import HookKeeper
from .records import Hook

log = CodedLog(__name__)

#: Makes one attempt to deliver a hook. Returns the problem, None once it is delivered.
Send = Callable[[Hook], str | None]

# The pause after a failure, which doubles with each further one.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 300.0

# A random part of each pause, so that workers of many apps do not try at one moment.
_PAUSE_PART = (0.5, 1.0)

# The longest wait of run() while something is unfinished.
_TICK_SECONDS = 1.0

# After this time the log is told again that a hook is delivered.
_PATIENCE_SECONDS = 10.0


class Courier:
    """Deliver hooks to one URL.

    The hooks of one user or channel are delivered in the order of the log, and so are
    all others until one fails. The URL then has a pause, and hooks that have not failed
    go first.

    Args:
        url: The URL.
        send: Makes one attempt.
        keeper: The hooks, and whether this worker delivers them.
        append: Appends a record to the log. Raises BrokerUnavailable.
        tally: Counts deliveries and failures.
        clock: The monotonic clock, in seconds.

    """

    def __init__(
        self,
        url: str,
        send: Send,
        keeper: HookKeeper,
        *,
        append: Callable[[Record], Cursor],
        tally: Tally,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        self._tally = tally
        self._send = send
        self._keeper = keeper
        self._append = append
        self._clock = clock
        self._work = threading.Event()
        keeper.listen(self._work)
        # The hooks that are delivered and still wait in the log, and when that is said
        # (again).
        self._delivered: dict[Hook, float] = {}
        # The number of failures of each hook, and when it is tried again.
        self._failures: dict[Hook, int] = {}
        self._tried_at: dict[Hook, float] = {}
        self._failures_of_url = 0
        self._pause_until = 0.0
        self._trouble = Trouble()
        self._rare_log = RareLog(log, clock=clock)

    def run(self, closed: Closed) -> None:
        """Deliver what is due, until ``closed`` is set."""
        while not closed.is_set():
            is_unfinished = self._failures or self._delivered
            self._work.wait(_TICK_SECONDS if is_unfinished else None)
            self._work.clear()
            with surviving(self._say_failure):
                while not closed.is_set() and self.step():
                    pass

    def _say_failure(self) -> None:
        text = "an attempt to deliver a hook failed"
        self._rare_log.exception("SSE-1711", text)

    def step(self) -> bool:
        """Deliver the next hook that is due; tell whether there was one."""
        if not self._keeper.is_courier():
            self._delivered.clear()
            self._forget(list(self._failures))
            self._pause_until, self._failures_of_url = 0.0, 0
            return False
        self._say_done()
        now = self._clock()
        hook = None if now < self._pause_until else self._next(now)
        if hook is None:
            return False
        problem = self._attempt(hook)
        if problem is None:
            self._note_success(hook)
        else:
            self._note_failure(hook, problem)
        return True

    def _next(self, now: float) -> Hook | None:
        self._forget([each for each in self._failures if each not in self._keeper.book])
        # A hook that fails again and again must not keep the others from their turn.
        return self._first(now, is_new=True) or self._first(now, is_new=False)

    def _first(self, now: float, *, is_new: bool) -> Hook | None:
        waiting: set[tuple[str, str]] = set()

        def is_possible(hook: Hook) -> bool:
            if hook in self._delivered or hook.subject in waiting:
                return False
            if hook in self._failures and (is_new or now < self._tried_at[hook]):
                waiting.add(hook.subject)
                return False
            return True

        return self._keeper.book.first(self._url, is_possible)

    def _attempt(self, hook: Hook) -> str | None:
        try:
            return self._send(hook)
        except Exception as error:  # noqa: BLE001 - the hook is tried again
            self._say_failure()
            return type(error).__name__

    def _note_success(self, hook: Hook) -> None:
        if (count := self._trouble.is_over()) > 0:
            log.info("hooks are delivered again, after %d failures", count)
        self._tally.hooks_delivered += 1
        self._failures_of_url = 0
        self._forget([hook])
        self._delivered[hook] = self._clock()
        self._say_done()

    def _note_failure(self, hook: Hook, problem: str) -> None:
        if self._trouble.is_news(problem):
            log.warning("SSE-1710", "hooks wait for %s: %s", _host(self._url), problem)
        self._tally.hooks_failed += 1
        now = self._clock()
        failures = self._failures[hook] = self._failures.get(hook, 0) + 1
        self._tried_at[hook] = now + _pause(failures)
        self._failures_of_url += 1
        self._pause_until = now + _pause(self._failures_of_url)

    def _forget(self, hooks: Iterable[Hook]) -> None:
        for hook in hooks:
            self._failures.pop(hook, None)
            self._tried_at.pop(hook, None)

    def _say_done(self) -> None:
        """Have the log forget the hooks that are delivered."""
        now = self._clock()
        for hook, moment in list(self._delivered.items()):
            if hook not in self._keeper.book:
                del self._delivered[hook]
            elif moment <= now:
                try:
                    self._append(records.done(hook))
                except BrokerUnavailable:
                    # The keeper says so in the log of this process.
                    return
                self._delivered[hook] = now + _PATIENCE_SECONDS


def _pause(failures: int) -> float:
    seconds = _FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20)
    return min(seconds, _LONGEST_PAUSE_SECONDS) * random.uniform(*_PAUSE_PART)


def _host(url: str) -> str:
    """Return the part of a URL that may be in a log: a path may have a secret."""
    return "/".join(url.split("/", 3)[:3])
