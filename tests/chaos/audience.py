"""Clients that reconnect as a browser's EventSource does, after any end of a stream."""

import heapq
import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from tests.chaos.checker import Part, Reset
from tests.chaos.publisher import CHANNELS, PATTERN
from tests.chaos.shown import Shown, is_state
from tests.kit.sse_parser import ParsedEvent
from tests.live.crowd import WHOLE, Crowd, Member, NoStream

# The wait after a stream that ended before its ``retry``, and the longest wait. A
# refusal asks for up to half a minute, in which the whole storm would pass.
_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 1.0

# One client in 20 stays away for longer, like a closed laptop. The events that it
# misses fill more than one write, or are no longer in the workers' memory.
_ONE_IN_SLEEPS = 20
_SLEEP_SECONDS = (3.0, 12.0)


class Listener(Member):
    """One EventSource, over all its consecutive streams."""

    def __init__(
        self,
        port: int,
        *,
        user: str,
        channels: Sequence[str],
        state: bool,
        shared: dict[ParsedEvent, ParsedEvent],
    ) -> None:
        self.user = user
        self.channels = channels
        self.client_id = ""
        #: Its first id: that of ``connected``, or that of the ping after the state.
        self.started = ""
        #: Its newest id.
        self.place = ""
        self.received: list[ParsedEvent] = []
        self.resets: list[Reset] = []
        #: The values on its page, None if it does not ask for the state.
        self.shown = Shown() if state else None
        # Whether a reset has come that is followed by the state.
        self._resetting = False
        self.turned_away: list[str] = []
        self.resumes = self.refusals = self.cuts = 0
        # Equal events of all clients are kept once: a long storm must fit in memory.
        self._shared = shared
        super().__init__(port, self._path(), user, "")

    def _path(self) -> str:
        asked = [("channel", name) for name in self.channels]
        if self.client_id:
            asked.append(("client_id", self.client_id))
        if self.shown is not None:
            asked.append(("state", "1"))
        return "/events?" + urlencode(asked)

    def open(self, last_event_id: str) -> None:
        """Open the next stream, reading at full speed again after a cut."""
        self.at_once = WHOLE
        # A refusal is a stream with a ``retry`` and without a ``connected`` event.
        self._welcome = False
        super().open(last_event_id)

    def cut_soon(self, at_once: int) -> None:
        """Read a few bytes at a time, and leave as soon as an event is incomplete."""
        self.at_once = at_once

    def read(self) -> None:
        """Read the bytes that have arrived, and leave if this stream is to be cut."""
        try:
            super().read()
        except NoStream as answer:
            self.turned_away.append(str(answer)[:80])
            self.ended = True
        if self.at_once < WHOLE and self.parser.midway and not self.ended:
            self.cuts += 1
            self.ended = True
        if self.ended and not self._welcome and self.parser.retry_ms is not None:
            self.refusals += 1

    def take(self, events: list[ParsedEvent]) -> None:
        """Keep the app's events, and note the stream's own ones."""
        for event in events:
            if event.type == "connected":
                self._greeted(event)
            elif event.type == "reset":
                self._reset(event)
            elif event.type == "ping":
                self._reached(event)
            else:
                if self.shown is not None:
                    self.shown.take(event)
                if not is_state(event):
                    self.received.append(self._shared.setdefault(event, event))
            self.started = self.started or event.id
            self.place = event.id

    def _greeted(self, connected: ParsedEvent) -> None:
        self._welcome = True
        self._resetting = False
        fields = json.loads(connected.data)
        self.resumes += fields["resumed"]
        if self.shown is not None and not connected.id:
            self.shown.begin()
        if not self.client_id:
            self.client_id = fields["client_id"]
            self.path = self._path()

    def _reset(self, event: ParsedEvent) -> None:
        upto = event.id
        if self.shown is not None:
            self.shown.begin()
            self._resetting = True
            upto = ""
        reason = json.loads(event.data)["reason"]
        self.resets.append(Reset(self.place, upto, time.monotonic(), reason))

    def _reached(self, ping: ParsedEvent) -> None:
        """Note the id from which a client goes on that was reset and has the state."""
        if self._resetting and ping.id != self.place:
            self._resetting = False
            self.resets[-1] = replace(self.resets[-1], upto=ping.id)

    @property
    def is_whole(self) -> bool:
        """Whether it has an id that is true for all that it has received."""
        return bool(self.started) and not self._resetting

    def part(self, *, who: str, stopped: str) -> Part:
        """Return this client's part, for the checker to compare with the log."""
        addresses = ["*", f"u:{self.user}", f"i:{self.client_id}"]
        heard = {*self.channels, *(CHANNELS if PATTERN in self.channels else [])}
        addresses += [f"c:{name}" for name in heard]
        return Part(
            who=f"{who} ({self.user}, {' '.join(self.channels)})",
            client_id=self.client_id,
            addresses=frozenset(addresses),
            started=self.started,
            stopped=stopped,
            received=tuple(self.received),
            resets=tuple(self.resets),
            turned_away=tuple(self.turned_away),
            shown=None if self.shown is None else dict(self.shown.values),
        )


class Audience(Crowd):
    """A crowd in which every client comes back after a while."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        # The clients that are away, by the time of return; the count breaks ties.
        self._away: list[tuple[float, int, Member]] = []
        self._count = itertools.count()

    def read_for(
        self, seconds: float, *, unless: Callable[[], bool] = lambda: False
    ) -> None:
        """Read all clients for a while, or until a condition is true."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not unless():
            self.read_once(left)

    def read_once(self, timeout: float) -> list[Member]:
        """Read the clients that have data, and let others come back in time."""
        while self._away and self._away[0][0] <= time.monotonic():
            member = heapq.heappop(self._away)[-1]
            try:
                self.come_back(member)
            except OSError:
                self._see_off(member)
        if self._away:
            timeout = min(timeout, max(0.0, self._away[0][0] - time.monotonic()))
        ended = super().read_once(timeout)
        for member in ended:
            member.socket.close()
            self._see_off(member)
        return ended

    def _see_off(self, member: Member) -> None:
        asked = member.parser.retry_ms
        wait = _RETRY_SECONDS if asked is None else asked / 1000
        wait = min(wait, _MAX_RETRY_SECONDS)
        if self._rng.randrange(_ONE_IN_SLEEPS) == 0:
            wait = self._rng.uniform(*_SLEEP_SECONDS)
        back = time.monotonic() + wait
        heapq.heappush(self._away, (back, next(self._count), member))
