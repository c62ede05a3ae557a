"""A clock that is moved by hand, and waits that go by it.

What a hub does by the clock is then done when a test says so, and at once. Does not
know what that is.
"""

import threading
import time

from ..hub.hub import Hub

# Of a hub's threads these wait by the clock: the heartbeat, and the revalidation.
_WAITING_OF_A_HUB = 2

# Only a test that fails, or a user_loader that never returns, makes it wait so long.
_PATIENCE = 5.0

# A thread that has ended tells nobody.
_LOOK_SECONDS = 0.02


class Clock:
    """A clock that stands still, in seconds, until it is told to go on."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = self._began = now
        # Guards all below, and tells of each change.
        self._changed = threading.Condition()
        self._deadlines: dict[threading.Thread, float] = {}
        # How often each thread has begun to wait.
        self._waits: dict[threading.Thread, int] = {}
        self._hub: Hub | None = None

    def __call__(self) -> float:
        """Tell what time it is."""
        return self._now

    @property
    def now(self) -> float:
        """What time it is."""
        return self._now

    def time_of_day(self) -> float:
        """Tell the time of day, in seconds since 1970: it goes on by itself too.

        Standing still it could not say whether a logout came before a stream.
        """
        return time.time() + self._now - self._began

    def advance(self, seconds: float) -> None:
        """Go on by so much at once.

        Returns when those who wait by this clock and had something to do have done it:
        one look at the end of the jump, not one for each moment of it. Raises
        ValueError for a step back.
        """
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds} s")
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
        """Have a hub that was made with this clock, and not started, wait by it too."""
        # Those who wait for the hub's end are waiting for their next look at the clock.
        hub.closed = ClockEvent(self)
        with self._changed:
            self._hub = hub
            self._waits.clear()

    def _wait_for_hub(self) -> None:
        """Wait until a hub that was started goes by this clock.

        Its threads may not have looked at the clock yet: what time they begin with
        would be a matter of luck.
        """
        if self._hub is not None and self._hub.ready:
            self._changed.wait_for(
                lambda: len(self._waits) >= _WAITING_OF_A_HUB, _PATIENCE
            )

    def _wait_until_they_rest(self, due: dict[threading.Thread, int]) -> None:
        gives_up = time.monotonic() + _PATIENCE
        while time.monotonic() < gives_up and any(
            thread.is_alive() and self._waits[thread] == before
            for thread, before in due.items()
        ):
            self._changed.wait(_LOOK_SECONDS)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait for an event, at most for so long by this clock."""
        thread = threading.current_thread()
        with self._changed:
            deadline = self._deadlines[thread] = self._now + seconds
            self._waits[thread] = self._waits.get(thread, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: event.is_set() or self._now >= deadline)
            del self._deadlines[thread]

    def notify(self) -> None:
        """Have those who wait look at their events again."""
        with self._changed:
            self._changed.notify_all()


class ClockEvent(threading.Event):
    """An event that is waited for by a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def set(self) -> None:
        """Set it, and wake who waits for it."""
        super().set()
        self._clock.notify()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most for so long by the clock; tell whether it is set."""
        if timeout is None:
            return super().wait()
        self._clock.wait(self, timeout)
        return self.is_set()
