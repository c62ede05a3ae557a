"""Streams through nginx, HAProxy and Caddy, as docs/deploying.md configures them."""

import json
import re
import shlex
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import psutil
import pytest

from tests.documented.samples import sample
from tests.kit.hand import fields
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, EndOfStream, StreamReader, wait_until
from tests.live.proxies import IDLE_LIMIT, PAGE, PROTOCOLS, PROXIES, Curl, Proxy
from tests.live.server import Server

pytestmark = pytest.mark.live

CURL = sample(PAGE, "sh", with_="curl")

ALICE = {"Authorization": "Bearer alice"}

#: A short limit in place of the page's, so that a test can outlast it.
IDLE = {IDLE_LIMIT: "1s"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The first ping comes after 30 seconds, so no ping pushes an event through."""
    # gunicorn itself trusts proxies of the same machine, and here none. The app then
    # knows only what ProxyFix tells it, as in a container.
    with Server(
        args="--forwarded-allow-ips 192.0.2.1",
        middleware="trust_proxy",
        max_clients_per_ip=5,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def pinging() -> Iterator[Server]:
    with Server(heartbeat_interval=0.3) as server:
        yield server


@pytest.fixture(
    scope="module",
    params=[(kind, protocol) for kind in PROXIES for protocol in PROTOCOLS],
    ids=lambda of: "-".join(of),
)
def proxy(request: pytest.FixtureRequest, server: Server) -> Iterator[Proxy]:
    """Each proxy, with each protocol of its clients."""
    kind, protocol = request.param
    with Proxy(kind, server.port, protocol=protocol) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def nobody_is_left(server: Server) -> Iterator[None]:
    """Each test leaves the server without streams."""
    yield
    wait_until(lambda: server.stats()["connections"] == 0)


def test_the_head_and_the_greeting_come_before_any_event(proxy: Proxy) -> None:
    """Otherwise onopen would wait for one. The protocol is the one asked for."""
    with closing(proxy.ask("/events", **ALICE)) as answer:
        spoken = b"HTTP/2" if proxy.protocol == "http2" else b"HTTP/1.1"
        assert (answer.status, answer.version) == (200, spoken)
        with StreamReader(answer) as stream:
            assert stream.next().type == "connected"


def test_each_event_comes_before_the_next_is_published(
    proxy: Proxy, server: Server
) -> None:
    """No event waits in a buffer for more bytes."""
    with proxy.stream("/events", **ALICE) as stream:
        stream.next("connected")
        for number in range(5):
            server.publish(str(number))
            assert stream.data(1) == [str(number)]


def test_who_leaves_is_known_without_a_write(proxy: Proxy, server: Server) -> None:
    """Limits and presence count the clients that are connected."""
    with proxy.stream("/events", **ALICE) as stream:
        stream.next("connected")
        assert server.stats()["connections"] == 1
    wait_until(lambda: server.stats()["connections"] == 0)


def test_a_refusals_status_passes_through(proxy: Proxy) -> None:
    """401 without a login, 403 for a channel that is closed, 400 for a bad name."""
    with closing(proxy.ask("/events")) as refusal:
        assert refusal.status == 401
        assert json.loads(refusal.body()) == {"error": "log in first"}
    for path, status in (("?channel=secret", 403), ("?channel=", 400)):
        with closing(proxy.ask(f"/events{path}", **ALICE)) as refusal:
            assert refusal.status == status


def test_a_logout_ends_the_stream(proxy: Proxy) -> None:
    """A browser that comes back is answered 401."""
    cookie = session(proxy, "/login/alice")
    with proxy.stream("/events", Cookie=cookie) as stream:
        stream.next("connected")
        cookie = session(proxy, "/logout", Cookie=cookie)
        stream.wait_for_end()
    with closing(proxy.ask("/events", Cookie=cookie)) as refusal:
        assert refusal.status == 401


def session(proxy: Proxy, path: str, **headers: str) -> str:
    """Make a POST through the proxy, and return the cookie of the session."""
    with closing(proxy.ask(path, "--request", "POST", **headers)) as answer:
        assert answer.status == 200
        lines = answer.head.decode().splitlines()
    (cookie,) = (it for it in lines if it.lower().startswith("set-cookie: session="))
    return cookie.split(": ")[1].split(";")[0]


def test_an_answer_to_a_post_streams_and_stops_with_its_client(
    proxy: Proxy, server: Server
) -> None:
    """Tokens arrive as they are made, and the model's call ends with the page."""

    def stream() -> StreamReader:
        return proxy.stream("/answers/waiting", "--data", "a prompt")

    with stream() as answer:
        assert answer.next().data == "first"
        server.request("POST", "/answers/release")
        assert answer.data(20) == [str(number) for number in range(20)]
        answer.next("done")
    with stream() as answer:
        answer.next()

    def is_closed() -> bool:
        state = server.json("/answers/")
        return bool(state["closed"] == state["made"])

    wait_until(is_closed)


def test_the_app_sees_the_clients_own_address(proxy: Proxy) -> None:
    """The app sees the scheme and host of the request too, and no forged header."""
    forged = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "gopher"}
    with closing(proxy.ask("/caller", "--interface", "127.0.0.3", **forged)) as answer:
        found = json.loads(answer.body())
    assert found["address"] == "127.0.0.3"
    # HAProxy always says https: without TLS of its own, it is behind a proxy with TLS.
    assert found["url"].split(":", 1)[1] == f"{proxy.url}/caller".split(":", 1)[1]
    if proxy.protocol != "plain":
        assert found["url"].startswith("https:")


def test_a_limit_for_each_address_counts_clients(proxy: Proxy, server: Server) -> None:
    """Otherwise all clients would have the address of the proxy."""
    with ExitStack() as held:
        for number in range(6):
            address = ["--interface", f"127.0.0.{10 + number // 5}"]
            stream = proxy.stream("/events", *address, **ALICE)
            held.enter_context(stream).next("connected")
        assert server.stats()["connections"] == 6
        refused = proxy.ask("/events", "--interface", "127.0.0.10", **ALICE)
        assert refused.body().startswith(b"retry: ")


@pytest.mark.parametrize("kind", PROXIES)
class TestEachOfThem:
    def test_an_operator_can_ask_the_proxy_and_the_app(
        self, kind: str, server: Server
    ) -> None:
        """The page's two commands show where a stream is held back."""
        with Proxy(kind, server.port) as proxy:
            cookie = session(proxy, "/login/alice")
            replaced = {
                "session=...": cookie,
                "https://app.example.com": proxy.url,
                "127.0.0.1:8000": f"{HOST}:{server.port}",
            }
            lines = CURL.splitlines()
            for line in lines:
                for old, new in replaced.items():
                    line = line.replace(old, new)
                _, *words, url = shlex.split(line)
                words += ["--cacert", str(proxy.folder / "cert.pem")]
                with closing(Curl(url, *words)) as answer, StreamReader(answer) as it:
                    it.next("connected")
            assert len(lines) == 2

    def test_pings_keep_a_stream_open_beyond_the_idle_limit(
        self, kind: str, pinging: Server
    ) -> None:
        """The streams stay open with each protocol."""
        with ExitStack() as held:
            streams = [
                held.enter_context(open_idle(held, kind, pinging, protocol))
                for protocol in PROTOCOLS
            ]
            for stream in streams:
                first = fields(stream.next("ping"))["ts"]
                while fields(stream.next("ping"))["ts"] < first + 2.0:
                    pass

    def test_without_pings_the_idle_limit_cuts(self, kind: str, server: Server) -> None:
        """The limit is where the page sets it, so the test before can fail."""
        with ExitStack() as held:
            streams = [
                held.enter_context(open_idle(held, kind, server, protocol))
                for protocol in PROTOCOLS
            ]
            for stream in streams:
                with pytest.raises(EndOfStream):
                    stream.next("ping")

    def test_a_restart_loses_and_doubles_nothing(
        self, kind: str, server: Server
    ) -> None:
        """A client that was cut resumes at its last event."""
        with Proxy(kind, server.port) as proxy:
            with proxy.stream("/events", **ALICE) as stream:
                stream.next("connected")
                server.publish("one")
                assert stream.data(1) == ["one"]
                proxy.stop()
                stream.wait_for_end()
                last = stream.last_event_id
            server.publish("two")
            proxy.start()
            with proxy.stream("/events", Last_Event_ID=last, **ALICE) as again:
                assert fields(again.next("connected"))["resumed"] is True
                server.publish("three")
                assert again.data(2) == ["two", "three"]

    @pytest.mark.parametrize("protocol", ["tls", "http2"])
    def test_a_reload_cuts_no_stream(
        self, kind: str, protocol: str, server: Server
    ) -> None:
        """Old streams go on, and new ones are let in."""
        with (
            Proxy(kind, server.port, protocol=protocol) as proxy,
            proxy.stream("/events", **ALICE) as old,
        ):
            old.next("connected")
            reload(proxy)
            with stream_of_new_worker(proxy) as new:
                new.next("connected")
                server.publish("to both")
                assert old.data(1) == new.data(1) == ["to both"]

    def test_a_browser_is_told_to_come_back_while_no_worker_listens(
        self, kind: str
    ) -> None:
        """The status of an error would end its EventSource for good.

        The answer has no blank line, at which the standard would have the browser
        forget its last event id.
        """
        # Caddy waits for a worker for the whole duration.
        edit = {"lb_try_duration 5s": "lb_try_duration 1s"} if kind == "caddy" else {}
        with Proxy(kind, free_port(), edit=edit) as proxy:
            with closing(proxy.ask("/events?channel=news", **ALICE)) as answer:
                assert answer.status == 200
                assert b"\ncontent-type: text/event-stream" in answer.head
                assert answer.body() == b"retry: 5000\n"
            with closing(proxy.ask("/publish")) as answer:
                assert answer.status in (502, 503)

    def test_plain_http_is_sent_to_tls(self, kind: str, server: Server) -> None:
        """The status of the redirect keeps a POST a POST."""
        with Proxy(kind, server.port, protocol="tls") as proxy:
            answer = proxy.ask("/page?a=b", at=proxy.redirecting_url)
            with closing(answer):
                assert answer.status == 308
                # The location may name any port or none, as the page has the usual one.
                where = r"(?i)\r\nlocation: https://localhost(:\d+)?/page\?a=b\s"
                assert re.search(where, answer.head.decode() + "\r\n")


@pytest.mark.parametrize(
    ("kind", "size"),
    # HAProxy takes a body that fits in its buffer.
    [("nginx", 100_000), ("haproxy", 10_000), ("caddy", 100_000)],
)
def test_a_body_is_taken_whole_before_the_app_is_asked(kind: str, size: int) -> None:
    """A slow body takes no greenlet of the app."""
    with socket.create_server((HOST, 0)) as app:
        app.settimeout(DEADLINE)
        with Proxy(kind, app.getsockname()[1]) as proxy, connect(proxy) as slow:
            slow.sendall(post("/slow", size) + b"x" * (size - 1))
            # By then, the proxy would long have passed on the bytes that it has.
            for _ in range(20):
                with connect(proxy) as quick:
                    quick.sendall(post("/quick", 1) + b"x")
                    assert asked(app).startswith(b"POST /quick ")
                    assert quick.recv(1)
            slow.sendall(b"x")
            assert asked(app).startswith(b"POST /slow ")


def open_idle(
    held: ExitStack, kind: str, server: Server, protocol: str
) -> StreamReader:
    """Open a stream through a proxy with a short idle limit."""
    proxy = held.enter_context(Proxy(kind, server.port, protocol=protocol, edit=IDLE))
    stream = proxy.stream("/events", **ALICE)
    stream.next("connected")
    return stream


def reload(proxy: Proxy) -> None:
    """Reload a proxy. A master that has just started may not hear the first signal."""
    before = workers(proxy)

    def is_done() -> object:
        return proxy.kind == "caddy" or workers(proxy) - before

    for within in (2.0, DEADLINE):
        proxy.reload()
        with suppress(AssertionError):
            wait_until(is_done, within=within)
            return
    raise AssertionError(f"{proxy.kind} does not reload: {proxy.log}")


def stream_of_new_worker(proxy: Proxy) -> StreamReader:
    """Open a stream as clients do: again, if the connection is closed at once.

    A worker that is about to go may have accepted it.
    """
    opened: list[StreamReader] = []

    def opens() -> bool:
        with suppress(AssertionError):
            opened.append(proxy.stream("/events", **ALICE))
        return bool(opened)

    wait_until(opens)
    return opened[0]


def workers(proxy: Proxy) -> set[int]:
    """Return the ids of the processes that serve."""
    assert proxy.process is not None
    return {child.pid for child in psutil.Process(proxy.process.pid).children()}


def connect(proxy: Proxy) -> ssl.SSLSocket:
    """Return a connection with TLS to a proxy."""
    context = ssl.create_default_context(cafile=str(proxy.folder / "cert.pem"))
    plain = socket.create_connection((HOST, proxy.port), timeout=DEADLINE)
    return context.wrap_socket(plain, server_hostname="localhost")


def post(path: str, size: int) -> bytes:
    """Return the head of a request with a body of ``size`` bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    return head.encode()


def asked(app: socket.socket) -> bytes:
    """Answer the next request, and return its first line."""
    connection, _ = app.accept()
    connection.settimeout(DEADLINE)
    with connection, connection.makefile("rb") as request:
        first = request.readline()
        head = iter(request.readline, b"\r\n")
        lengths = [line for line in head if line.lower().startswith(b"content-length")]
        request.read(int(lengths[0].split(b":")[1]))
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    return first


#: Proxies that end an answer in order although the app broke it off, with the protocol
#: of their clients. docs/chat.md names them.
HIDES_CUTS = {("haproxy", "http2"), *(("caddy", protocol) for protocol in PROTOCOLS)}


@pytest.mark.parametrize(("kind", "fails"), [("in-the-middle", True), ("large", False)])
def test_a_bare_answer_that_fails_is_cut_off(
    proxy: Proxy, kind: str, fails: bool
) -> None:
    """Without a protocol of events, only the broken connection tells of the failure."""
    with closing(proxy.ask(f"/answers/{kind}?bare")) as answer:
        assert b"".join(answer).startswith(b":\n")
        hidden = (proxy.kind, proxy.protocol) in HIDES_CUTS
        assert answer.complete() is (not fails or hidden)
