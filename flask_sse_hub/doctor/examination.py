"""The examination: probes through the public address and directly, compared.

A fault that shows only through the public address is a proxy's. Knows probes, and the
cures of proxies. Does not know how the app publishes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .findings import Finding
from .probe import Probe, nonce
from .workers import (
    DEAF_SECONDS,
    MachineSeen,
    Met,
    answers,
    first_of_each,
    forwarding,
    machine_of,
    meet,
    problems,
    standing,
)

# How long an event may take before it counts as held back. A busy server takes tens of
# milliseconds.
_HELD_SECONDS = 3.0

# HAProxy without http-no-delay adds 200 ms to each event.
_DELAY_SECONDS = 0.12

_EVENTS = 4
_BETWEEN_SECONDS = 0.25

# How long a worker may take to notice that a client has left.
_LEAVE_SECONDS = 2.0

# A worker that is behind the log for a moment is asked again after this time.
_BEHIND_SECONDS = 1.0

# Faults of workers that keep streams or events back. Then a proxy is not to blame.
_WITHHOLDING = {"several-logs", "log-replaced", "broker-away", "deaf", "secret-key"}

_GZIP = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, deflate"}
_PLAIN = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AppShell:
    """The parts of the app that an examination uses, given by the app's shell."""

    prefix: str
    #: Returns the query that opens a stream of a channel, and tells its facts.
    query: Callable[[str], Mapping[str, str]]
    #: Publishes a text to a channel. Raises an error if the broker is away.
    publish: Callable[[str, str], object]
    #: Returns the epoch of the log of this shell; "" while its broker is away.
    epoch: Callable[[], str]
    heartbeat: float


@dataclass(slots=True)
class Hop:
    """The results of one address."""

    url: str
    met: Met
    head_seconds: float | None = None
    #: The delay of each event, None for one that did not come in time.
    delays: list[float | None] = field(default_factory=list)
    #: The same without compression, measured where events were held back.
    plain_delays: list[float | None] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    #: Whether the stream ended before its events had come.
    ended: bool = False
    #: How long the stream was silent when it was cut, None if it was not.
    cut_after: float | None = None
    #: Whether the worker noticed that the client had left, None if it cannot tell.
    noticed: bool | None = None
    #: For how many seconds each worker has not followed the log, by process id.
    deaf: Mapping[int, float] = field(default_factory=dict)
    #: The numbers of workers that gave no answer to the others.
    silent: Sequence[int] = ()

    @property
    def streams(self) -> bool:
        """Whether each event came as it was published."""
        return bool(self.delays) and None not in self.delays

    @property
    def delay(self) -> float:
        """The usual delay of an event."""
        return median([each for each in self.delays if each is not None] or [0.0])

    def facts(self) -> dict[str, Any]:
        """Return the measurements for a program."""
        return {
            "url": self.url,
            "status": self.status,
            "head_seconds": self.head_seconds,
            "delays": self.delays,
            "cut_after": self.cut_after,
            "leaving_noticed": self.noticed,
            "workers": sorted({each["pid"] for each in self.met.facts}),
        }


class Examination:
    """Examine the hops of one app. ``wait`` is how long a stream is held in silence."""

    def __init__(
        self,
        shell: AppShell,
        *,
        wait: float,
        origin: str | None = None,
        insecure: bool = False,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._shell = shell
        self._wait = wait
        self._origin = {} if origin is None else {"Origin": origin}
        self._insecure = insecure
        self._say = say
        # More than one if the log was replaced meanwhile.
        self._epochs = {shell.epoch()}

    def look_at(self, url: str, *, hold: bool = True) -> Hop:
        """Examine one address. ``hold`` also waits for a silent stream to be cut."""
        base = url.rstrip("/") + self._shell.prefix
        channel = f"sse-hub-doctor.{nonce()}"
        query = self._shell.query(channel)
        self._say(f"asking the workers at {base}")
        hop = Hop(base, meet(base + "/doctor", query, insecure=self._insecure))
        if not hop.met.facts:
            return hop
        self._say(f"timing events through {base}")
        probe = self._probe(base, query, _GZIP)
        try:
            self._time(probe, channel, hop.delays)
            hop.status, hop.headers = probe.status, probe.headers
            if probe.head_at is not None:
                hop.head_seconds = probe.head_at - probe.begun
            hop.ended = probe.ended_at is not None and probe.status == 200
            if hop.streams:
                if hold:
                    self._hold(probe, hop)
            elif hop.status in (0, 200) and not hop.ended:
                plain = self._probe(base, query, _PLAIN)
                self._time(plain, channel, hop.plain_delays)
                plain.close()
        finally:
            probe.close()
        if hop.streams:
            hop.noticed = self._is_noticed(base, query)
        self._listen_to(hop, base, query)
        return hop

    def _listen_to(self, hop: Hop, base: str, query: Mapping[str, str]) -> None:
        """Ask for the workers until none may be deaf to the events of the probes.

        A worker counts from the first question at which it was behind the log.
        """
        gives_up = time.monotonic() + DEAF_SECONDS + _BEHIND_SECONDS
        if self._machine(base, query) is not None:
            time.sleep(_BEHIND_SECONDS / 10)
        while (machine := self._machine(base, query)) is not None:
            hop.deaf, hop.silent = machine.deaf, machine.silent
            longest = max(machine.deaf.values(), default=0.0)
            if not 0.0 < longest < DEAF_SECONDS or time.monotonic() >= gives_up:
                return
            time.sleep(_BEHIND_SECONDS)

    def _machine(self, base: str, query: Mapping[str, str]) -> MachineSeen | None:
        return machine_of(base + "/doctor", query, insecure=self._insecure)

    def _probe(
        self, base: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Probe:
        # A worker logs names in a stream's query that it does not know.
        query = {name: query[name] for name in ("channel", "ticket")}
        return Probe(base, query, {**headers, **self._origin}, insecure=self._insecure)

    def _time(self, probe: Probe, channel: str, delays: list[float | None]) -> None:
        """Publish events one after the other, and note the delay of each."""
        # A worker that is not ready admits the stream a moment later. A proxy may hold
        # back the head, and a published event would push it through.
        if probe.wait_for_head(_HELD_SECONDS) and probe.status != 200:
            return
        probe.wait_for("event: connected", _HELD_SECONDS)
        for _ in range(_EVENTS):
            text = nonce()
            begun = time.monotonic()
            self._shell.publish(text, channel)
            arrived = probe.wait_for(text, _HELD_SECONDS)
            delays.append(None if arrived is None else arrived - begun)
            if arrived is None:
                return
            time.sleep(_BETWEEN_SECONDS)

    def _hold(self, probe: Probe, hop: Hop) -> None:
        """Hold a stream in silence, until its first ping or its end."""
        self._say(f"holding a silent stream through {hop.url} for {self._wait:.0f} s")
        silent_since = probe.last_at
        came = probe.wait_for("event: ping", self._wait)
        if came is None and probe.ended_at is not None:
            hop.cut_after = probe.ended_at - silent_since

    def _is_noticed(self, base: str, query: Mapping[str, str]) -> bool | None:
        """Tell whether the workers notice that the probe has left.

        None if no worker tells.
        """
        deadline = time.monotonic() + _LEAVE_SECONDS
        while True:
            machine = self._machine(base, query)
            if machine is None:
                return None
            if machine.streams == 0:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)

    def findings(self, public: Hop, direct: Hop | None) -> list[Finding]:
        """Return the faults of both addresses."""
        return first_of_each(self._findings(public, direct))

    def _findings(self, public: Hop, direct: Hop | None) -> Iterator[Finding]:
        self._epochs.add(self._shell.epoch())
        found: list[Finding] = []
        for hop in (direct, public):
            if hop is not None:
                found += answers(hop.met, hop.url)
                found += problems(hop.met.facts, epochs=self._epochs)
                found += standing(hop.deaf, hop.silent)
        yield from found
        if public.met.facts:
            facts = public.met.facts[0]
            proxied = facts["proxied"] or (
                direct is not None and direct.url != public.url
            )
            yield from forwarding(facts, public=public.url, proxied=proxied)
        if _WITHHOLDING.isdisjoint(each.code for each in found):
            yield from self._streaming(public, direct)

    def _streaming(self, public: Hop, direct: Hop | None) -> Iterator[Finding]:
        worker_streams = direct is None or direct.streams
        if direct is not None and direct.met.facts and not direct.streams:
            yield _held(direct, "worker", self._origin)
        if public.met.facts and not public.streams and worker_streams:
            yield _held(public, "proxy", self._origin)
        if not public.streams:
            return
        base = direct.delay if direct is not None and direct.streams else 0.0
        if public.delay - base > _DELAY_SECONDS:
            yield Finding(
                "delay",
                "proxy",
                f"each event is {(public.delay - base) * 1000:.0f} ms late"
                f"{_named(public)}: the proxy waits to fill a packet",
                "HAProxy: option http-no-delay",
            )
        if public.cut_after is not None:
            yield Finding(
                "idle-limit",
                "proxy" if direct is None or direct.cut_after is None else "worker",
                f"a silent stream was cut after {public.cut_after:.1f} s, and"
                f" SSE_HUB_HEARTBEAT_INTERVAL is {self._shell.heartbeat:g} s",
                "Raise the idle limit above twice the interval (nginx:"
                " proxy_read_timeout, HAProxy: timeout client and timeout server), or"
                " set SSE_HUB_HEARTBEAT_INTERVAL to"
                f" {max(1, public.cut_after / 2):.0f}.",
            )
        if public.noticed is False and (direct is None or direct.noticed is not False):
            yield Finding(
                "leaving-unnoticed",
                "proxy",
                "the worker does not learn that a client has left before its next write"
                f"{_named(public)}",
                "HAProxy: option abortonclose. Elsewhere: a shorter"
                " SSE_HUB_HEARTBEAT_INTERVAL",
                "advice",
            )
        if self._origin:
            yield from _cors(public, self._origin["Origin"])


def _held(hop: Hop, where: str, origin: Mapping[str, str]) -> Finding:
    """Return the finding about a stream that did not bring its events."""
    if hop.status not in (0, 200):
        if hop.status == 403 and origin:
            return Finding(
                "cors",
                "app",
                f"a page of {origin['Origin']} may not open a stream",
                f"SSE_HUB_CORS_ORIGINS = [{origin['Origin']!r}]",
            )
        return Finding(
            "status",
            where,
            f"{hop.url} answers {hop.status} to a stream, and 200 to other requests",
            "Look into the log of the proxy and of the worker.",
        )
    if hop.ended:
        full = next((each["full"] for each in hop.met.facts if each["full"]), None)
        if full is not None:
            return Finding(
                "refused",
                "worker",
                f"{hop.url} refuses streams: {full}",
                "Raise the limit, or add workers.",
            )
        return Finding(
            "refused",
            where,
            f"{hop.url} ended a stream at its beginning: a limit is reached, the worker"
            " is going away, or something cut the connection",
            "Look into the worker's log, which names the limit, and at flask sse top.",
        )
    held = (
        "not even its head came"
        if hop.head_seconds is None
        else "its head came, and its events did not"
    )
    if hop.plain_delays and None not in hop.plain_delays:
        return Finding(
            "compression",
            where,
            f"a compressed stream is held back{_named(hop)} ({held}), and one without"
            " compression is not: a hop collects bytes to compress or inspect",
            "Have it leave text/event-stream alone: nginx: gzip_types without it;"
            " Apache: SetEnvIf Request_URI ^/events no-gzip; a CDN: no compression for"
            " this path; the network of a visitor: HTTPS, into which it cannot look. Or"
            " turn ours off: SSE_HUB_COMPRESS_MIN_BYTES = None",
        )
    return Finding(
        "buffering",
        where,
        f"events published to a stream did not arrive within {_HELD_SECONDS:g} s"
        f"{_named(hop)}: {held}",
        "nginx: proxy_http_version 1.1, no proxy_ignore_headers X-Accel-Buffering, or"
        " proxy_buffering off; with several proxies in each of them. Apache: no"
        " mod_deflate for this path, and ProxyPass with flushpackets=on. A CDN or a"
        " virus scanner: an exception for this path."
        if where == "proxy"
        else "Look for a middleware that reads the whole response, and into the log.",
    )


def _named(hop: Hop) -> str:
    """Return the name that a hop gives itself, for the middle of a sentence."""
    names = [
        f"{key}: {hop.headers[key]}"
        for key in ("server", "via", "cf-ray", "x-cache")
        if key in hop.headers
    ]
    return f" ({', '.join(names)})" if names else ""


def _cors(hop: Hop, origin: str) -> Iterator[Finding]:
    allowed = hop.headers.get("access-control-allow-origin")
    if allowed == origin or hop.url.startswith(origin + "/"):
        return
    yield Finding(
        "cors",
        "proxy" if allowed is None else "app",
        f"a page of {origin} cannot read the stream: the answer's"
        f" Access-Control-Allow-Origin is {allowed!r}",
        f"SSE_HUB_CORS_ORIGINS = [{origin!r}]; the proxy has to leave the header alone",
    )


def exit_status(findings: Sequence[Finding]) -> int:
    """Return 1 if there is a fault; advice alone is 0."""
    return int(any(each.severity == "fault" for each in findings))
