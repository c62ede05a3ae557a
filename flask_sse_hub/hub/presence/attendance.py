"""Attendance: the people in each channel, and the workers that have their streams.

A table that the log fills. Its content depends only on the newest record of each
address and key, so a worker that begins late has the same table. Does not know clocks,
records or locks.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import Any

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Presence:
    """A person in a channel.

    ``since`` is the time of coming, in seconds since 1970. ``devices`` is the number of
    streams on all workers: 0 while the person may come back. ``data`` is the
    description by ``@sse_hub.describe_presence``.
    """

    user: str
    since: float
    devices: int
    data: Mapping[str, Any]


class PresenceList(list[Presence]):
    """The people in a channel, in the order of their coming.

    ``anonymous`` is the number of streams without a user. ``stale`` tells whether the
    list may be out of date, because this worker cannot read the log.
    """

    def __init__(
        self,
        people: Iterable[Presence] = (),
        *,
        anonymous: int = 0,
        stale: bool = False,
    ) -> None:
        super().__init__(people)
        self.anonymous = anonymous
        self.stale = stale


@dataclass(frozen=True, slots=True)
class Crowd:
    """The number of people in a channel, and its earliest users."""

    channel: str
    people: int
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crowds:
    """The number of channels with people in them, and the fullest of these."""

    count: int
    fullest: tuple[Crowd, ...]


@dataclass(slots=True)
class Person:
    """A person in a channel: the newest visible record, at ``offset`` in the log."""

    channel: str
    user: str
    since: float
    data: str
    offset: int


class Attendance:
    """The people and the entries of workers, each at the key of channel and user."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self._by_channel: dict[str, dict[str, Person]] = {}
        self._by_user: dict[str, dict[str, Person]] = {}
        # The number of streams on each worker.
        self._entries: dict[str, dict[str, int]] = {}
        self._by_worker: dict[str, set[str]] = {}
        # The list of a channel as JSON, until somebody comes or leaves.
        self._texts: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are no people and no entries."""
        return not self._people and not self._entries

    # People

    def put(self, key: str, person: Person) -> None:
        """Add a person, or replace the earlier record of the same person."""
        self._people[key] = person
        self._by_channel.setdefault(person.channel, {})[key] = person
        self._by_user.setdefault(person.user, {})[key] = person
        self._texts.pop(person.channel, None)

    def remove(self, key: str) -> Person | None:
        """Remove a person, and return who it was."""
        person = self._people.pop(key, None)
        if person is not None:
            _take_out(self._by_channel, person.channel, key)
            _take_out(self._by_user, person.user, key)
            self._texts.pop(person.channel, None)
        return person

    def person(self, key: str) -> Person | None:
        """Return the person at a key."""
        return self._people.get(key)

    def people(self) -> list[str]:
        """Return the keys of all people."""
        return list(self._people)

    @property
    def headcount(self) -> int:
        """The number of people in all channels. A user counts in each of them."""
        return len(self._people)

    def count(self, channel: str) -> int:
        """Return the number of people in a channel."""
        return len(self._by_channel.get(channel, ()))

    def users(self, channel: str) -> list[str]:
        """Return the users in a channel."""
        return [each.user for each in self._by_channel.get(channel, {}).values()]

    def channels(self, user: str) -> list[str]:
        """Return the channels in which a user is."""
        return [each.channel for each in self._by_user.get(user, {}).values()]

    def listed(self, channel: str) -> list[Presence]:
        """Return the people in a channel."""
        return [
            Presence(
                person.user, person.since, self.devices(key), json.loads(person.data)
            )
            for key, person in self._by_channel.get(channel, {}).items()
        ]

    def crowds(self, most: int, users: int) -> "Crowds":
        """Return the fullest channels, and the first users of each."""
        fullest = nlargest(
            most, self._by_channel.items(), key=lambda item: len(item[1])
        )
        return Crowds(
            len(self._by_channel),
            tuple(
                Crowd(name, len(people), tuple(_users(people.values(), users)))
                for name, people in fullest
            ),
        )

    def text(self, channel: str) -> str:
        """Return the people in a channel as a JSON array, as clients receive it."""
        text = self._texts.get(channel)
        if text is None:
            people = self._by_channel.get(channel, {}).values()
            text = "[" + ",".join(map(_text, people)) + "]"
            if people:
                self._texts[channel] = text
        return text

    # The entries of workers

    def enter(self, worker: str, key: str, devices: int) -> None:
        """Note how many streams a worker has at a key."""
        self._entries.setdefault(key, {})[worker] = devices
        self._by_worker.setdefault(worker, set()).add(key)

    def withdraw(self, worker: str, key: str) -> bool:
        """Remove a worker's entry at a key; tell whether there was one."""
        if key not in self._by_worker.get(worker, ()):
            return False
        self._by_worker[worker].discard(key)
        if not self._by_worker[worker]:
            del self._by_worker[worker]
        _take_out(self._entries, key, worker)
        return True

    def drop(self, worker: str) -> set[str]:
        """Remove all entries of a worker, and return their keys."""
        keys = self.keys(worker)
        for key in keys:
            self.withdraw(worker, key)
        return keys

    def keys(self, worker: str) -> set[str]:
        """Return the keys of a worker's entries."""
        return set(self._by_worker.get(worker, ()))

    def workers(self) -> list[str]:
        """Return the workers that have entries."""
        return list(self._by_worker)

    def entry(self, worker: str, key: str) -> int | None:
        """Return the number of streams in a worker's entry, None without one."""
        return self._entries.get(key, {}).get(worker)

    def is_attended(self, key: str) -> bool:
        """Tell whether any worker has an entry at a key."""
        return key in self._entries

    def devices(self, key: str) -> int:
        """Return the number of streams on all workers."""
        return sum(self._entries.get(key, {}).values())


def _users(people: Iterable[Person], most: int) -> Iterator[str]:
    return (each.user for each in islice(people, most))


def _take_out(index: dict[str, dict[str, Any]], name: str, key: str) -> None:
    found = index[name]
    del found[key]
    if not found:
        del index[name]


def _text(person: Person) -> str:
    fields = _encoder.encode({"user": person.user, "since": person.since})
    return f'{fields[:-1]},"data":{person.data}}}'
