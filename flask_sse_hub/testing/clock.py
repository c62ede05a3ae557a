"""A clock that a test moves by hand, and waits that follow it.

A hub with this clock does its timed work when the test advances the clock, without
delay. Does not know what that work is.
"""

import threading
import time

from ..hub.hub import Hub
from ..runtime.closing import Closing

# Seconds until advance() stops waiting. Only a test that fails, or a user_loader that
# never returns, takes so long.
_PATIENCE = 5.0

# Seconds between two looks at the threads: a thread that ends does not notify anybody.
_LOOK_SECONDS = 0.02


class Clock:
    """A clock that stands still until advance() moves it. Its unit is seconds.

    For example::

        clock = Clock()
        with fresh_hub(app, clock=clock):
            stream = Stream("/events", client=app.test_client())
            clock.advance(3600)
            assert clock.now == 4600
            assert clock.time_of_day() > time.time() + 3599
            stream.close()

    Args:
        now: The time at which the clock stands.

    """

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = self._began = now
        # Guards all fields below, and is notified of each change.
        self._changed = threading.Condition()
        self._deadlines: dict[threading.Thread, float] = {}
        # How often each thread has begun to wait.
        self._waits: dict[threading.Thread, int] = {}
        self._hub: Hub | None = None

    def __call__(self) -> float:
        """Return the clock's time."""
        return self._now

    @property
    def now(self) -> float:
        """The clock's time."""
        return self._now

    def time_of_day(self) -> float:
        """Return the time of day, in seconds since 1970.

        It runs on by itself and also follows advance(). If it stood still, a logout and
        a stream could have the same time, and their order would be unknown.
        """
        return time.time() + self._now - self._began

    def advance(self, seconds: float) -> None:
        """Move the clock forward in one jump.

        Returns when the threads that wait by this clock and became due have done their
        work. Each of them looks at the clock once, at the end of the jump, and not at
        every moment within it. Raises ValueError if ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(
                f"a clock does not go back: {seconds} s is negative; pass a positive"
                " number of seconds"
            )
        with self._changed:
            self._wait_for_hub()
            self._now += seconds
            due = {
                thread: self._waits[thread]
                for thread, deadline in self._deadlines.items()
                if deadline <= self._now
            }
            self._changed.notify_all()
            self._wait_until_they_rest(due)

    def keep_time_of(self, hub: Hub) -> None:
        """Make a hub's threads wait by this clock too.

        The hub must have been made with this clock, and not have been started.
        """
        # The hub's threads wait for this event between two looks at the clock.
        hub.closed = Closing(ClockEvent(self))
        with self._changed:
            self._hub = hub
            self._waits.clear()

    def _wait_for_hub(self) -> None:
        """Wait until all timed threads of a started hub wait by this clock.

        A thread that has not looked at the clock yet could start before or after the
        jump, by chance.
        """
        hub = self._hub
        if hub is not None and hub.ready:
            self._changed.wait_for(
                lambda: len(self._waits) >= hub.tasks_by_clock, _PATIENCE
            )

    def _wait_until_they_rest(self, due: dict[threading.Thread, int]) -> None:
        gives_up = time.monotonic() + _PATIENCE
        while time.monotonic() < gives_up and any(
            thread.is_alive() and self._waits[thread] == before
            for thread, before in due.items()
        ):
            self._changed.wait(_LOOK_SECONDS)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait for an event, for at most ``seconds`` of this clock."""
        thread = threading.current_thread()
        with self._changed:
            deadline = self._deadlines[thread] = self._now + seconds
            self._waits[thread] = self._waits.get(thread, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: event.is_set() or self._now >= deadline)
            del self._deadlines[thread]

    def notify(self) -> None:
        """Wake all waiting threads, so that they look at their events again."""
        with self._changed:
            self._changed.notify_all()


class ClockEvent(threading.Event):
    """A threading event whose timeouts are measured by a Clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def set(self) -> None:
        """Set the event, and wake the threads that wait for it."""
        super().set()
        self._clock.notify()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for at most ``timeout`` seconds of the clock; tell whether it is set."""
        if timeout is None:
            return super().wait()
        self._clock.wait(self, timeout)
        return self.is_set()
