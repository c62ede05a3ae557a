"""Streams obey logins and logouts on every worker."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.conftest import Start
from tests.kit.hand import fields
from tests.kit.reader import StreamReader
from tests.live.server import Connection, Server

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(start: Start) -> Iterator[Server]:
    with start(revalidate_interval=0.5) as server:
        yield server


@pytest.fixture
def everywhere(server: Server) -> Iterator["Everywhere"]:
    here = Everywhere(server)
    yield here
    here.close()


class Everywhere:
    """Opens one stream on each worker."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._streams: list[StreamReader] = []

    def open(self, path: str = "/events", **headers: str) -> list[StreamReader]:
        """Return one greeted stream per worker."""
        streams = []
        for worker in self._server.workers():
            with self._server.only(worker):
                stream = self._server.stream(path, user=None, **headers)
                self._streams.append(stream)
                streams.append(stream)
                stream.next("connected")
        return streams

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def end_of_all(streams: list[StreamReader]) -> None:
    for stream in streams:
        stream.wait_for_end()


def hear(server: Server, streams: list[StreamReader]) -> None:
    """Check that all streams are open and receive an event."""
    server.publish("still here")
    for stream in streams:
        assert stream.data(1) == ["still here"]


def test_a_logout_ends_the_sessions_streams_on_every_worker(
    server: Server, everywhere: Everywhere
) -> None:
    """Any worker may answer it; the same user's other sessions stay open."""
    for worker in server.workers():
        cookie = server.cookie("alice")
        streams = everywhere.open(Cookie=cookie)
        others = everywhere.open(Cookie=server.cookie("alice"))
        with server.only(worker):
            # The stopped workers learn of the logout as soon as they run again.
            server.request("POST", "/logout", Cookie=cookie)
        end_of_all(streams)
        hear(server, others)


def test_a_logout_ends_the_streams_of_tickets_of_that_session(
    server: Server, everywhere: Everywhere
) -> None:
    """Afterwards the tickets open no streams, on any worker."""
    cookie = server.cookie("alice")
    ticket = post(server, "/ticket", {}, Cookie=cookie)
    url = f"/events?ticket={ticket}"
    streams = everywhere.open(url)
    server.request("POST", "/logout", Cookie=cookie)
    end_of_all(streams)
    for worker in server.workers():
        with server.only(worker):
            assert server.get(url)[0] == 401


def test_a_disconnect_ends_all_streams_of_a_user(
    server: Server, everywhere: Everywhere
) -> None:
    """All sessions are closed, the user may connect again, and other users stay."""
    streams = [
        *everywhere.open(Cookie=server.cookie("alice")),
        *everywhere.open(Cookie=server.cookie("alice")),
    ]
    others = everywhere.open(Cookie=server.cookie("bob"))
    server.request("POST", "/disconnect/alice")
    end_of_all(streams)
    hear(server, [*others, *everywhere.open(Cookie=server.cookie("alice"))])


def test_a_remembered_login_ends_with_a_logout(
    server: Server, everywhere: Everywhere
) -> None:
    """A remember cookie opens streams before its session has an id of its own."""
    _, _, headers = server.request("POST", "/login/alice?remember")
    cookies = [cookie.split(";")[0] for cookie in headers.get_all("Set-Cookie", [])]
    remembered = next(each for each in cookies if each.startswith("remember_token"))
    streams = everywhere.open(Cookie=remembered)
    assert server.request("POST", "/logout", Cookie=remembered)[0] == 200
    end_of_all(streams)


def test_a_session_belongs_to_one_browser(server: Server) -> None:
    """This holds where Flask-Login's protection is "strong", as in this app."""
    cookie = server.cookie("alice")
    assert server.get("/events", Cookie=cookie, User_Agent="another")[0] == 401


def test_the_apps_own_unauthorized_handler_answers(server: Server) -> None:
    """A stream is refused as every other view of the app is."""
    assert server.get("/events") == (401, b'{"error":"log in first"}\n')


def test_a_stream_does_not_prolong_a_session(server: Server) -> None:
    """Unlike a page, a stream that reconnects sets no session cookie."""
    cookie = server.cookie("alice", "permanent")
    assert "Set-Cookie" in server.request("GET", "/page", Cookie=cookie)[2]
    connection = Connection(server.port, "/events", Cookie=cookie)
    assert "Set-Cookie" not in connection.response.headers
    connection.close()


class TestRevalidation:
    def test_a_deleted_user_loses_all_streams(
        self, server: Server, everywhere: Everywhere
    ) -> None:
        """Streams end on every worker, with every credential, and stay refused."""
        cookie = server.cookie("admin")
        ticket = post(server, "/ticket", {"user": "admin"})
        streams = [
            *everywhere.open(Cookie=cookie),
            *everywhere.open(f"/events?ticket={ticket}"),
            *everywhere.open("/dashboard/sse", Cookie=cookie),
        ]
        others = everywhere.open(Cookie=server.cookie("alice"))
        server.request("POST", "/delete/admin")
        end_of_all(streams)
        hear(server, others)
        assert server.get("/events", Cookie=cookie)[0] == 401
        assert server.get(f"/events?ticket={ticket}")[0] == 401
        assert total(server, "revoked") == len(streams)

    def test_a_user_who_loses_a_channel_loses_its_streams(
        self, server: Server, everywhere: Everywhere
    ) -> None:
        """Its streams end on every worker; the user's other streams stay open."""
        cookie = server.cookie("alice")
        streams = everywhere.open("/events?channel=alice%2Bbob", Cookie=cookie)
        others = everywhere.open("/events?channel=news", Cookie=cookie)
        server.request("POST", "/close/alice+bob")
        end_of_all(streams)
        hear(server, others)
        closed = server.get("/events?channel=alice%2Bbob", Cookie=cookie)
        assert closed[0] == 403

    def test_a_client_with_a_bearer_token_resumes_after_revalidation(
        self, server: Server, everywhere: Everywhere
    ) -> None:
        """Only a request can check it, so the stream ends; no event is missed."""
        (stream, *_) = everywhere.open(Authorization="Bearer bob")
        stream.wait_for_end()
        missed = server.publish("missed", user="bob")
        again = server.stream(user="bob", Last_Event_ID=stream.last_event_id)
        assert fields(again.next())["resumed"] is True
        assert again.next("message").id == missed
        again.close()


def post(server: Server, path: str, body: Any, **headers: str) -> str:
    status, text, _ = server.request("POST", path, body=body, **headers)
    assert status == 200
    return text.decode()


def total(server: Server, reason: str) -> int:
    """Return the number of streams that ended for a reason, on all workers."""
    count = 0
    for worker in server.workers():
        with server.only(worker):
            count += server.stats()["closed"].get(reason, 0)
    return count
