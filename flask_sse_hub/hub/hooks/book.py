"""The book of hooks: the deliveries that wait at this worker's place in the log.

The follower feeds it, and any thread may ask it. Does not write to the log.
"""

import threading
from collections.abc import Callable, Collection
from itertools import islice

from ...events.record import UNPLACED, Record
from .records import Claim, Hook, read


class HookBook:
    """The hooks that wait, and the courier.

    ``changed`` is called after each record, with the hook that it is about.
    """

    kinds: Collection[str] = ("w",)

    def __init__(self, *, changed: Callable[[Hook | None], object]) -> None:
        self._changed = changed
        #: The newest claim to be the courier. Its worker may be gone.
        self.claim = Claim()
        #: A place up to which all records are in the answers.
        self.place = UNPLACED
        #: Whether the records known at a restart are still being taken.
        self.is_filling = False
        # Guards the fields below.
        self._lock = threading.Lock()
        # The hooks that wait for each URL, by their keys, in the order of the log.
        self._waiting: dict[str, dict[str, Hook]] = {}
        # The keys of all records since a restart, while they are being taken.
        self._seen: set[str] = set()

    # The follower's side

    def restart(self) -> None:
        """Begin again without hooks."""
        with self._lock:
            self._waiting.clear()
            self.claim = Claim()
            self.place = UNPLACED
            self.is_filling = True

    def take(self, record: Record) -> None:
        """Take the next record."""
        said = read(record)
        if isinstance(said, Claim):
            self.claim = said
        elif said is not None:
            with self._lock:
                self._take(said, deletes=record.deletes)
        self.place = record.cursor
        if said is not None and not self.is_filling:
            self._changed(said if isinstance(said, Hook) else None)

    def _take(self, hook: Hook, *, deletes: bool) -> None:
        if self.is_filling:
            self._seen.add(hook.key)
        if not deletes:
            self._waiting.setdefault(hook.url, {})[hook.key] = hook
            return
        waiting = self._waiting.get(hook.url, {})
        waiting.pop(hook.key, None)
        if not waiting:
            self._waiting.pop(hook.url, None)

    def caught_up(self) -> None:
        """Note that all records known at a restart have been taken."""
        with self._lock:
            self.is_filling = False
            self._seen.clear()
        self._changed(None)

    # The worker's side

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def __contains__(self, hook: Hook) -> bool:
        """Tell whether a hook waits, or has been seen since a restart."""
        with self._lock:
            return hook.key in self._seen or hook.key in self._waiting.get(hook.url, ())

    def oldest_time(self) -> float | None:
        """Return the time of the hook that has waited longest, None without any."""
        with self._lock:
            firsts = (next(iter(each.values())) for each in self._waiting.values())
            return min((hook.time for hook in firsts), default=None)

    def first(self, url: str, is_possible: Callable[[Hook], bool]) -> Hook | None:
        """Return the first hook that waits for a URL and is possible."""
        with self._lock:
            return next(filter(is_possible, self._waiting.get(url, {}).values()), None)

    def oldest(self, *, most: int) -> list[Hook]:
        """Return the hooks that have waited longest for each URL."""
        with self._lock:
            return [
                hook
                for waiting in self._waiting.values()
                for hook in islice(waiting.values(), most)
            ]

    def beyond(self, most: int) -> list[Hook]:
        """Return the oldest hooks of each URL for which more than ``most`` wait."""
        with self._lock:
            return [
                hook
                for waiting in self._waiting.values()
                for hook in islice(waiting.values(), max(0, len(waiting) - most))
            ]
