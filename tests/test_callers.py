"""Callers: the addresses that streams are asked for from, and how often."""

import logging
import threading

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_sse_hub.web.client_address import Callers
from tests.conftest import MakeSite
from tests.reader import wait_until

PREFERS_STATUSES = {"Prefer": "sse-status"}


@pytest.mark.parametrize(
    ("remote", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8:1:2::9]:4711", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("", None),
        ("unix:", None),
    ],
)
def test_an_address_is_what_one_household_has(remote: str, found: str | None) -> None:
    """Of IPv6 it has as many as it likes; a Unix socket has none."""
    environ = {"REMOTE_ADDR": remote}
    with Flask("any").test_request_context(environ_overrides=environ):
        assert Callers(None).address() == found


class TestRate:
    def test_who_comes_too_often_is_told_to_come_later(
        self, make_site: MakeSite
    ) -> None:
        """In a way that ends no EventSource for good."""
        site = make_site(connect_rate="2/minute")
        browser = site.browser("alice")
        for _ in range(2):
            browser.stream().next("connected")
        refused = browser.get()
        assert refused.status_code == 200
        assert refused.text.startswith("retry: ")
        assert browser.get(headers=PREFERS_STATUSES).status_code == 429
        assert site.hub.stats().refused == 2

    def test_without_room_for_a_thread_it_is_told_to_come_later(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The package starts one to count with, and a 500 would end an EventSource."""
        browser = make_site(connect_rate="9/minute").browser("alice")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            assert browser.get(headers=PREFERS_STATUSES).status_code == 429
        browser.stream().next("connected")

    def test_each_address_for_itself(self, make_site: MakeSite) -> None:
        """One that comes too often keeps nobody else out."""
        site = make_site(connect_rate="1/minute", login_required=False)
        for host in (1, 2):
            elsewhere = {"REMOTE_ADDR": f"192.0.2.{host}"}
            stream = site.browser().stream(environ_overrides=elsewhere)
            stream.next("connected")

    def test_it_is_asked_before_the_user_is_loaded(self, make_site: MakeSite) -> None:
        """Who is not logged in cannot have the database asked without end."""
        site = make_site(connect_rate="1/minute")
        assert site.browser().get(headers=PREFERS_STATUSES).status_code == 401
        assert site.browser().get(headers=PREFERS_STATUSES).status_code == 429


class TestStreamsPerAddress:
    def test_beyond_the_limit_they_are_refused(self, make_site: MakeSite) -> None:
        """Whoever they belong to; nobody's stream is ended for it."""
        site = make_site(max_clients_per_ip=2)
        streams = [site.browser(name).stream() for name in ("alice", "bob")]
        for stream in streams:
            stream.next("connected")
        refused = site.browser("carol").get(headers=PREFERS_STATUSES)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
        streams[0].close()
        wait_until(lambda: site.hub.stats().connections == 1)
        site.browser("carol").stream().next("connected")

    def test_behind_a_proxy_it_is_the_clients_address(
        self, make_site: MakeSite
    ) -> None:
        """Where ProxyFix reads the header that the proxy writes."""
        site = make_site(max_clients_per_ip=1, login_required=False)
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app)  # type: ignore[method-assign]
        for host in (1, 2):
            headers = {"X-Forwarded-For": f"192.0.2.{host}"} | PREFERS_STATUSES
            site.browser().stream(headers=headers).next("connected")
            assert site.browser().get(headers=headers).status_code == 429


class TestForgottenProxyFix:
    def test_it_is_said_once(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """To the app everybody seems to come from the proxy."""
        site = make_site()
        for _ in range(2):
            site.browser("alice").get(headers={"X-Forwarded-For": "192.0.2.1"})
        assert caplog.text.count("ProxyFix(app.wsgi_app") == 1

    def test_not_where_it_is(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A well-made deployment has a quiet log."""
        site = make_site()
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app)  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING):
            site.browser("alice").get(headers={"X-Forwarded-For": "192.0.2.1"})
        assert caplog.text == ""


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
