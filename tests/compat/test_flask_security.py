"""Flask-Security: its tokens, its ids, and its own way of loading users."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_sse_hub.testing import Stream
from tests.compat.security_site import create_app
from tests.compat.table import compat
from tests.live.server import Server

SITE = "tests.compat.security_site"
MINE = ("/events", "/mine")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(site=SITE) as server:
        yield server


@pytest.fixture
def token(server: Server) -> str:
    return server.get("/token")[1].decode()


@pytest.mark.live
@compat("Flask-Security-Too", "gunicorn gevent", "streams of users with a token")
@pytest.mark.parametrize("path", MINE)
def test_a_token_opens_a_stream(server: Server, token: str, path: str) -> None:
    """Its request_loader answers from the user that is loaded already."""
    with server.stream(path, user=None, Authentication_Token=token) as stream:
        stream.next("connected")
    assert server.open("/events", query={}, Authentication_Token="x") == 401
    assert server.open("/events", query={"auth_token": token}) != 401


@pytest.mark.live
@compat("Flask-Security-Too", "gunicorn gevent", "publish(user=current_user)")
def test_a_user_object_reaches_the_streams_of_the_user(
    server: Server, token: str
) -> None:
    """The id for Flask-Login is ``fs_uniquifier``; the primary key reaches nobody."""
    with server.stream(user=None, Authentication_Token=token) as stream:
        stream.next("connected")
        for kind in ("key", "current", "object"):
            path = f"/greet/{kind}"
            assert server.request("POST", path, Authentication_Token=token)[0] == 200
        assert stream.data(2) == ["current", "object"]


@pytest.mark.live
@compat("Flask-Security-Too", "gunicorn gevent", "a logout ends the session's streams")
def test_a_logout_ends_the_streams_of_a_session(server: Server) -> None:
    """By Flask-Security's own view."""
    _, _, headers = server.request("POST", "/enter")
    cookie = headers["Set-Cookie"].split(";")[0]
    with server.stream(user=None, Cookie=cookie) as stream:
        stream.next("connected")
        assert server.request("POST", "/logout", Cookie=cookie)[0] < 400
        stream.wait_for_end()


@pytest.mark.live
@compat("Flask-Security-Too", "gunicorn gevent", "a stranger is not redirected")
def test_a_stranger_is_not_sent_to_the_login_page(server: Server) -> None:
    """A native EventSource would follow, and find a page instead of a stream."""
    assert server.open("/events", query={}, Accept="text/html") == 401


@compat("Flask-Security-Too", "test client", "a locked user's streams end")
@pytest.mark.parametrize("way", ["token", "session"])
def test_a_locked_user_loses_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The user is loaded again while the stream is open, by token with reload_user."""
    monkeypatch.chdir(tmp_path)
    app = create_app(SSE_HUB_BROKER_URL="memory://", SSE_HUB_REVALIDATE_INTERVAL=0.2)
    client, headers = app.test_client(), {}
    if way == "token":
        headers = {"Authentication-Token": client.get("/token").text}
    else:
        client.post("/enter")
    with Stream("/events", client=client, headers=headers) as stream:
        stream.next("connected")
        app.test_client().post("/lock")
        stream.rest()
    app.extensions["sse_hub"].close()
