"""Callers: the network addresses that open streams, and how often they do."""

import logging
import threading
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_sse_hub.web.client_address import ClientAddresses
from tests.conftest import MakeSite
from tests.kit.reader import wait_until

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
def test_an_address_stands_for_one_household(remote: str, found: str | None) -> None:
    """A household has many IPv6 addresses in one /64; a Unix socket has none."""
    environ = {"REMOTE_ADDR": remote}
    with Flask("any").test_request_context(environ_overrides=environ):
        assert ClientAddresses(None).of_request() == found


class TestRate:
    def test_a_client_that_connects_too_often_is_told_to_retry_later(
        self, make_site: MakeSite
    ) -> None:
        """The refusal does not make an EventSource give up."""
        site = make_site(connect_rate="2/minute")
        browser = site.browser("alice")
        for _ in range(2):
            browser.stream().next("connected")
        refused = browser.get()
        assert refused.status_code == 200
        assert refused.text.startswith("retry: ")
        assert browser.get(headers=PREFERS_STATUSES).status_code == 429
        assert site.hub.stats().refused == 2

    def test_a_client_is_told_to_retry_later_if_no_thread_can_start(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Counting needs a thread, and a 500 would make an EventSource give up."""
        browser = make_site(connect_rate="9/minute").browser("alice")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            assert browser.get(headers=PREFERS_STATUSES).status_code == 429
        browser.stream().next("connected")

    def test_each_address_is_counted_on_its_own(self, make_site: MakeSite) -> None:
        """An address that connects too often does not affect other addresses."""
        site = make_site(connect_rate="1/minute", login_required=False)
        for host in (1, 2):
            elsewhere = {"REMOTE_ADDR": f"192.0.2.{host}"}
            stream = site.browser().stream(environ_overrides=elsewhere)
            stream.next("connected")

    def test_the_rate_is_checked_before_the_user_is_loaded(
        self, make_site: MakeSite
    ) -> None:
        """Clients without a login cannot cause endless database queries."""
        site = make_site(connect_rate="1/minute")
        assert site.browser().get(headers=PREFERS_STATUSES).status_code == 401
        assert site.browser().get(headers=PREFERS_STATUSES).status_code == 429


class TestStreamsPerAddress:
    def test_streams_beyond_the_limit_are_refused(self, make_site: MakeSite) -> None:
        """All users of an address count together, and no open stream is ended."""
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

    def test_behind_a_proxy_the_clients_address_counts(
        self, make_site: MakeSite
    ) -> None:
        """ProxyFix reads the header that the proxy writes."""
        site = make_site(max_clients_per_ip=1, login_required=False)
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app)  # type: ignore[method-assign]
        for host in (1, 2):
            headers = {"X-Forwarded-For": f"192.0.2.{host}"} | PREFERS_STATUSES
            site.browser().stream(headers=headers).next("connected")
            assert site.browser().get(headers=headers).status_code == 429


class TestNoAddress:
    """A Unix socket has no address, so limits per address cannot work."""

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"max_clients_per_ip": 1}, "SSE_HUB_MAX_CLIENTS_PER_IP cannot"),
            ({"connect_rate": "1/minute"}, "SSE_HUB_CONNECT_RATE cannot"),
            (
                {"max_clients_per_ip": 1, "connect_rate": "1/minute"},
                "SSE_HUB_CONNECT_RATE and SSE_HUB_MAX_CLIENTS_PER_IP cannot",
            ),
        ],
        ids=["streams", "rate", "both"],
    )
    @pytest.mark.parametrize("remote", ["", "unix:", "unknown"])
    def test_a_limit_that_cannot_work_says_so_once(
        self,
        make_site: MakeSite,
        caplog: pytest.LogCaptureFixture,
        settings: dict[str, Any],
        named: str,
        remote: str,
    ) -> None:
        """The clients are let in, and the log says what to do."""
        site = make_site(**settings)
        for _ in range(2):
            environ = {"REMOTE_ADDR": remote}
            stream = site.browser("alice").stream(environ_overrides=environ)
            stream.next("connected")
        (message,) = caplog.messages
        assert named in message
        assert "ProxyFix(app.wsgi_app" in message

    def test_without_a_limit_nothing_is_logged(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Most apps behind a Unix socket need no limit per address."""
        environ = {"REMOTE_ADDR": ""}
        stream = make_site().browser("alice").stream(environ_overrides=environ)
        stream.next("connected")
        assert caplog.messages == []


class TestForgottenProxyFix:
    def test_a_missing_proxy_fix_is_logged_once(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without ProxyFix all clients seem to come from the proxy's address."""
        site = make_site()
        for _ in range(2):
            site.browser("alice").get(headers={"X-Forwarded-For": "192.0.2.1"})
        assert caplog.text.count("ProxyFix(app.wsgi_app") == 1

    def test_an_app_with_proxy_fix_logs_no_warning(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A correct deployment has a quiet log."""
        site = make_site()
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app)  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING):
            site.browser("alice").get(headers={"X-Forwarded-For": "192.0.2.1"})
        assert caplog.text == ""


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
