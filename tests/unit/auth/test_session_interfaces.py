"""Session interfaces of other packages: live objects, and stores that are away."""

from collections import UserDict
from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SessionInterface, SessionMixin

from tests.conftest import MakeSite, Site
from tests.unit.auth.conftest import ends_alone


class StoredSession(dict[str, Any], SessionMixin):
    """A session that has only what Flask's mixin requires."""

    sid = ""


class BareSession(UserDict[str, Any]):
    """A session with less than that: no ``modified`` and no ``accessed``."""

    sid = ""
    permanent = False


class LiveSessions(SessionInterface):
    """A store that hands out the stored object itself, as some do."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._stored: dict[str, Any] = {}

    def open_session(self, app: Flask, request: Any) -> Any:
        sid = request.cookies.get("sid") or f"sid-{len(self._stored)}"
        found = self._stored.setdefault(sid, self._kind())
        found.sid = sid
        return found

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        response.set_cookie("sid", session.sid)


class TestLiveSessions:
    """Session interfaces that do not tell how a session was before the request."""

    @pytest.fixture(params=[StoredSession, BareSession])
    def live(self, request: pytest.FixtureRequest, site: Site) -> Site:
        site.app.session_interface = LiveSessions(request.param)

        @site.app.post("/clear")
        def clear() -> str:
            session.clear()
            return "out"

        @site.app.post("/become/<name>")
        def become(name: str) -> str:
            session["_user_id"] = name
            return "become"

        return site

    @pytest.mark.parametrize("how", ["/clear", "/become/bob", "/logout", "/login/bob"])
    def test_the_end_of_a_session_ends_its_streams(self, live: Site, how: str) -> None:
        """The streams of other sessions go on."""
        browser = live.browser("alice")
        stream, other = browser.stream(), live.browser("alice").stream()
        stream.next("connected")
        other.next("connected")
        assert browser.client.post(how).status_code == 200
        ends_alone(live, stream, other)

    def test_a_page_that_changes_nothing_ends_nothing(self, live: Site) -> None:
        """A page works as it does without the extension."""
        browser = live.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        assert browser.page()["session"] == browser.page()["session"]
        live.hub.publish("still here")
        assert stream.data(1) == ["still here"]


def test_a_store_of_sessions_that_is_away_fails_no_page_that_needs_no_session(
    site: Site,
) -> None:
    """Lazy sessions are read when they are first used."""

    class Lazy(dict[str, Any], SessionMixin):
        def get(self, *_: Any) -> Any:
            raise OSError("the store is away")

    class Interface(LiveSessions):
        def save_session(self, *_: Any) -> None:
            """Save nothing."""

    site.app.session_interface = Interface(Lazy)

    @site.app.get("/plain")
    def plain() -> str:
        return "plain"

    assert site.browser().get("/plain").text == "plain"


def test_pages_that_use_no_session_do_not_vary_by_cookie(make_site: MakeSite) -> None:
    """Reading the session's id at the beginning does not count as an access.

    Flask-Login itself reads the session for each page.
    """
    site = make_site(login=False, login_required=False)

    @site.app.get("/plain")
    def plain() -> str:
        return "plain"

    browser = site.browser()
    with browser.client.session_transaction() as cookie:
        cookie["_sse_hub_session"] = "minted"
    assert "Vary" not in browser.get("/plain").headers
