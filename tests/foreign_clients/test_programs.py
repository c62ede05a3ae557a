"""The documentation's programs, with the real packages, on a real server."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import requests
from ld_eventsource.errors import HTTPStatusError

from tests.compat.table import compat
from tests.documented.samples import sample
from tests.foreign_clients.conftest import TEXT, Site
from tests.foreign_clients.site import sseclient_of_pypi
from tests.kit.reader import DEADLINE
from tests.live.server import DELIVERIES
from tests.wire.real_parts import absent

pytestmark = pytest.mark.live

TESTS = Path(__file__).parents[1]


class Received(NamedTuple):
    """An event as a client receives it."""

    type: str
    data: str
    id: str


class Refused(Exception):
    """Raised when a program reports that it was refused for good."""


#: Runs a program of the documentation at a site, as alice, until it is refused.
Program = Callable[[Site], Iterator[Received]]


CLIENTS = "docs/clients.md"
HTTPX_SSE = sample(CLIENTS, "python", with_="httpx_sse")
SSECLIENT = sample(CLIENTS, "python", with_="import sseclient")
LAUNCHDARKLY = sample(CLIENTS, "python", with_="ld_eventsource")


#: The header with which a program asks for a compressed stream.
ASKS = {"Accept-Encoding": sample(CLIENTS, "http", with_="gzip").split(": ")[1].strip()}
COMPRESSED = ", compressed"


def python(
    code: str, *, asks: Mapping[str, str] | None = None, **options: Any
) -> Program:
    """Return a program that runs the ``listen`` function of the documentation."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)  # noqa: S102

    def listen(site: Site) -> Iterator[Received]:
        headers = {"Authorization": "Bearer alice", **(asks or {})}
        for event in names["listen"](f"{site.url}/events", headers, **options):
            yield Received(event.event, event.data, event.id)

    return listen


# The parts that the documentation leaves to its reader.
NODE = """
const [url, token] = [process.argv[1], "alice"];
const say = (said) => console.log(JSON.stringify(said));
const handle = ({type, data, lastEventId: id}) => say([type, data, id]);
const [loadAnew, refused] = [handle, (code) => say(["refused", `${code}`, ""])];
"""
NODE += sample(CLIENTS, "js", with_='from "eventsource"')


def node(site: Site) -> Iterator[Received]:
    """Run the documentation's program for Node.js."""
    with subprocess.Popen(
        ["node", "--input-type=module", "--eval", NODE, f"{site.url}/events"],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            received = Received(*json.loads(line))
            if received.type == "refused":
                raise Refused(received.data)
            yield received


PROGRAMS = {
    "eventsource": node,
    "httpx-sse": python(HTTPX_SSE),
    "sseclient-py": python(SSECLIENT),
    "launchdarkly-eventsource": python(LAUNCHDARKLY, wait=0.2),
    f"httpx-sse{COMPRESSED}": python(HTTPX_SSE, asks=ASKS),
    f"sseclient-py{COMPRESSED}": python(SSECLIENT, asks=ASKS),
}
each_program = pytest.mark.parametrize("name", PROGRAMS)


class Listener:
    """A program that listens in a thread of its own."""

    def __init__(self, events: Iterable[Received]) -> None:
        self._arrived: queue.Queue[Received | Exception] = queue.Queue()
        self.thread = threading.Thread(target=self._read, args=[events])
        self.thread.start()

    def _read(self, events: Iterable[Received]) -> None:
        try:
            for event in events:
                self._arrived.put(event)
        except Exception as error:  # noqa: BLE001
            self._arrived.put(error)

    def next(self) -> Received:
        """Return the app's next event; raise the program's error if it has one."""
        while True:
            event = self._arrived.get(timeout=DEADLINE)
            if isinstance(event, Exception):
                raise event
            if event.type == "note":
                return event

    def data(self, count: int) -> list[str]:
        return [self.next().data for _ in range(count)]


@contextmanager
def listening(name: str, site: Site) -> Iterator[Listener]:
    """Run a program; a refusal for good ends it after the block."""
    if name == "eventsource":
        if shutil.which("node") is None:
            absent("node", remedy="install Node.js 18 or later")
        if not (TESTS / "node_modules" / "eventsource").is_dir():
            absent("eventsource", remedy="run `npm ci` in tests")
    listener = Listener(PROGRAMS[name](site))
    try:
        site.connected()
        yield listener
    finally:
        if listener.thread.is_alive():
            site.refuse_next(401)
            site.drop()
        listener.thread.join(DEADLINE)


def say(site: Site, *texts: str) -> list[str]:
    """Publish to alice and return the ids."""
    return [site.publish(text, type="note", user="alice") for text in texts]


@each_program
def test_a_program_receives_an_event(name: str, site: Site) -> None:
    """The event arrives with its type, its unchanged data, and its id."""
    with listening(name, site) as listener:
        (event_id,) = say(site, TEXT)
        assert listener.next() == Received("note", TEXT, event_id)


@each_program
def test_a_program_resumes_after_a_drop_and_misses_nothing(
    name: str, site: Site
) -> None:
    """The program resumes from its last event id: each event arrives once."""
    with listening(name, site) as listener:
        (last_id,) = say(site, "one")
        assert listener.next().id == last_id
        site.drop()
        say(site, "two", "three")
        assert listener.data(2) == ["two", "three"]
        say(site, "four")
        assert listener.data(1) == ["four"]
        assert site.asked("header") == [None, last_id]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "eventsource",
            marks=compat("eventsource", "gunicorn gevent", "resume after kill -9"),
        ),
        pytest.param(
            "httpx-sse",
            marks=compat("httpx-sse", "gunicorn gevent", "resume after kill -9"),
        ),
        pytest.param(
            "sseclient-py",
            marks=compat("sseclient-py", "gunicorn gevent", "resume after kill -9"),
        ),
        pytest.param(
            "launchdarkly-eventsource",
            marks=compat(
                "launchdarkly-eventsource", "gunicorn gevent", "resume after kill -9"
            ),
        ),
        *(name for name in PROGRAMS if COMPRESSED in name),
    ],
)
def test_a_program_survives_a_killed_worker(name: str, site: Site) -> None:
    """The kernel closes its connection; the next worker sends the missed events."""
    with listening(name, site) as listener:
        say(site, "one")
        assert listener.data(1) == ["one"]
        os.kill(site.worker(), signal.SIGKILL)
        say(site, "two", "three")
        assert listener.data(2) == ["two", "three"]


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - {"eventsource"}))
def test_a_program_resumes_after_a_temporary_refusal(name: str, site: Site) -> None:
    """A full worker refuses in this way, or a proxy whose app is just starting."""
    with listening(name, site) as listener:
        say(site, "one")
        assert listener.data(1) == ["one"]
        site.refuse_next(503)
        site.drop()
        say(site, "two")
        assert listener.data(1) == ["two"]
        assert len(site.asked("header")) == 3


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("eventsource", 401, Refused),
        ("eventsource", 502, Refused),
        ("httpx-sse", 401, httpx.HTTPStatusError),
        ("sseclient-py", 403, httpx.HTTPStatusError),
        ("launchdarkly-eventsource", 401, HTTPStatusError),
    ],
)
def test_a_program_reports_a_final_refusal(
    name: str, status: int, error: type[Exception], site: Site
) -> None:
    """The error has the status, and the program stops trying."""
    with listening(name, site) as listener:
        site.refuse_next(status)
        site.drop()
        with pytest.raises(error, match=str(status)):
            listener.next()


def test_launchdarkly_reads_a_chunked_stream_at_once() -> None:
    """A generator's streams are chunked, and so are those behind a proxy."""
    with (
        Site(DELIVERIES[1]) as site,
        listening("launchdarkly-eventsource", site) as listener,
    ):
        (event_id,) = say(site, TEXT)
        assert listener.next() == Received("note", TEXT, event_id)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if COMPRESSED in name])
def test_a_program_that_asks_receives_a_compressed_stream(
    name: str, site: Site
) -> None:
    """Each event arrives when it is published, with its id."""
    with listening(name, site) as listener:
        for text in ("small", "large " * 1000, "small again"):
            (event_id,) = say(site, text)
            assert listener.next() == Received("note", text, event_id)
        assert site.asked("coding") == ["gzip"]


@compat("sseclient", "gunicorn gevent", "ids, where other clients are compressed")
@pytest.mark.parametrize("kind", DELIVERIES)
def test_sseclient_of_pypi_keeps_its_ids(kind: str) -> None:
    """It reads below the decoder of requests, which offers gzip by itself."""
    with Site(kind) as site:
        listener = Listener(_sseclient_of_pypi(site))
        try:
            site.connected()
            texts = ["small", "large " * 1000, "small again"]
            for text in texts:
                (event_id,) = say(site, text)
                assert listener.next() == Received("note", text, event_id)
            site.drop()
            ids = say(site, "missed", "large " * 1000)
            assert [listener.next().id, listener.next().id] == ids
            assert site.asked("header") == [None, event_id]
            assert "gzip" not in site.asked("coding")
        finally:
            site.refuse_next(401)
            site.drop()
            listener.thread.join(DEADLINE)


def _sseclient_of_pypi(site: Site) -> Iterator[Received]:
    code = sseclient_of_pypi()
    if code is None:
        absent("sseclient", remedy="run `make tests/wheels`")
    names: dict[str, Any] = {"__name__": "sseclient"}
    exec(code, names)  # noqa: S102
    headers = {"Authorization": "Bearer alice"}
    url = f"{site.url}/events"
    with _ClosingSession() as session:
        for event in names["SSEClient"](url, session=session, headers=headers):
            yield Received(event.event, event.data, event.id)


class _ClosingSession(requests.Session):
    """Close each response before the next request, which the package does not do."""

    _last: requests.Response | None = None

    def get(self, *args: Any, **options: Any) -> requests.Response:
        self.close()
        self._last = super().get(*args, **options)
        return self._last

    def close(self) -> None:
        if self._last is not None:
            self._last.close()
        super().close()


def test_sseclient_receives_no_half_events() -> None:
    """The library would take half an event for a whole one, and resume after it."""
    names: dict[str, Any] = {}
    exec(SSECLIENT, names)  # noqa: S102
    stream = b"id: 1\ndata: a\n\nid: 2\ndata: one half\ndata: the other half\n\n"
    for cut in range(len(stream) + 1):
        chunks = names["whole_events"](iter([stream[:3], stream[3:cut]]))
        events = [event.id for event in names["sseclient"].SSEClient(chunks).events()]
        assert events == ["1", "2"][: stream[:cut].count(b"\n\n")]
