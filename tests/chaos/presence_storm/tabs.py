"""The people of a storm: browsers with some tabs, which reconnect by themselves."""

import json
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress

from tests.chaos.audience import Audience
from tests.chaos.presence_storm.checker import Change, Seen
from tests.kit.sse_parser import ParsedEvent
from tests.live.crowd import Member, NoStream

ROOM = "room"
_QUIET_SECONDS = 3.0
_PATH = f"/events?channel={ROOM}"


class Tab(Member):
    """One open page of a person, over all its streams, until it is closed."""

    def __init__(self, port: int, user: str, crowd: "People") -> None:
        self.user = user
        self.is_closed = self.is_greeted = False
        #: The answers that were no stream, such as those after a logout.
        self.turned_away: list[str] = []
        self._crowd = crowd
        self._begun: int | None = None
        self._upto = 0
        self._changes: list[Change] = []
        self._resets: list[str] = []
        self.greeted_at = 0.0
        super().__init__(port, _PATH, user, "")

    @property
    def _login(self) -> str:
        # All tabs of a browser have one jar of cookies.
        cookie = self._crowd.cookies.get(self.user)
        return super()._login if cookie is None else f"Cookie: {cookie}"

    def open(self, last_event_id: str) -> None:
        """Ask for the next stream."""
        self.is_greeted = False
        super().open(last_event_id)

    def read(self) -> None:
        """Read the bytes that have arrived, and note the end."""
        try:
            super().read()
        except NoStream as answer:
            self.turned_away.append(str(answer)[2:40])
            self.ended = True
        if self.ended:
            self.note_end()

    def note_end(self) -> None:
        """Note that a stream is no longer open."""
        if self.is_greeted:
            self.is_greeted = False
            self._crowd.stays[self.user].append((self.greeted_at, time.time()))

    def take(self, events: list[ParsedEvent]) -> None:
        """Note the changes of the people, and the place up to which they are known."""
        for event in events:
            is_first = self._begun is None
            if event.id:
                self._upto = int(event.id.rpartition("-")[2])
                # A worker that does not know its place yet greets without an id.
                if self._begun is None:
                    self._begun = self._upto - (event.type == "presence")
            if event.type == "connected":
                self.is_greeted = True
                self.greeted_at = time.time()
            elif event.type == "reset" and not is_first:
                # Before its first id, a tab is reset to load its page again: the worker
                # cannot tell which events are newer than the page.
                self._resets.append(f"{event.data} at {event.id}")
            elif event.type == "presence":
                self._crowd.heard_at = time.monotonic()
                told = json.loads(event.data)
                self._changes.append(Change(self._upto, told["type"], told["user"]))

    def seen(self) -> Seen:
        """Return the changes that the tab has seen."""
        begun = self._upto if self._begun is None else self._begun
        who = f"a tab of {self.user}"
        return Seen(who, begun, self._upto, self._changes, self._resets)


class People(Audience):
    """All open tabs. A tab whose stream ends comes back, unless it is closed."""

    def __init__(self, draw: random.Random, port: int) -> None:
        super().__init__(draw)
        self._draw = draw
        self._port = port
        self.tabs: list[Tab] = []
        self.gone: list[Tab] = []
        #: The moment at which a tab last saw a change.
        self.heard_at = time.monotonic()
        #: The cookies of people with a session, "" for those who are logged out.
        self.cookies: dict[str, str] = {}
        #: The times in which streams of each user were open.
        self.stays: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def open(self, user: str) -> None:
        """Open a tab. A server that does not accept it is asked again later."""
        with suppress(OSError):
            tab = Tab(self._port, user, self)
            self.tabs.append(tab)
            self.add(tab)

    def close(self, tab: Tab) -> None:
        """Close a tab for good."""
        tab.is_closed = True
        tab.note_end()
        self.tabs.remove(tab)
        self.gone.append(tab)
        if tab.socket.fileno() >= 0:
            with suppress(KeyError):
                self._selector.unregister(tab.socket)
            tab.socket.close()

    def come_back(self, member: Member) -> None:
        """Let an open tab connect again."""
        assert isinstance(member, Tab)
        if not member.is_closed:
            super().come_back(member)

    def _see_off(self, member: Member) -> None:
        assert isinstance(member, Tab)
        if member.turned_away and member.user in self.cookies:
            # The session has ended: the page shows the login.
            if not member.is_closed:
                self.close(member)
        elif not member.is_closed:
            super()._see_off(member)

    def all_are_back(self) -> bool:
        """Tell whether each open tab has its stream."""
        return all(tab.is_greeted for tab in self.tabs)

    def is_quiet(self) -> bool:
        """Tell whether no tab has seen a change for a while."""
        return time.monotonic() - self.heard_at > _QUIET_SECONDS

    def truth(self) -> Counter[str]:
        """Return the number of open tabs of each user."""
        return Counter(tab.user for tab in self.tabs)

    def draw_tabs(self, most: int) -> list[Tab]:
        """Return some open tabs."""
        return self._draw.sample(self.tabs, self._draw.randint(0, most))

    def stays_until(self, now: float) -> dict[str, list[tuple[float, float]]]:
        """Return the times of all streams, those that are open up to now."""
        found = {user: list(stays) for user, stays in self.stays.items()}
        for tab in self.tabs:
            if tab.is_greeted:
                found.setdefault(tab.user, []).append((tab.greeted_at, now))
        return found
