"""The page about tenants: its rule, its view, its script and its settings."""

from typing import Any

import pytest
from flask import Flask, abort, render_template_string, request
from flask_login import current_user, login_required

from flask_sse_hub import SSEHub
from tests.conftest import MakeSite, Site, User
from tests.documented.samples import sample
from tests.kit.hand import fields

PAGE = "docs/tenants.md"
RULE = sample(PAGE, "python", with_="def may_listen")
VIEW = sample(PAGE, "python", with_="def publish_to")
SETTINGS = sample(PAGE, "python", with_="SSE_HUB_PUBLISH_TOKENS")
SCRIPT = sample(PAGE, "html")

TENANTS = {"alice": {"7"}, "bob": {"7", "8"}}


@pytest.fixture
def site(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The page's app. Alice belongs to tenant 7, and Bob to tenant 8 too."""
    belongs = property(lambda user: TENANTS.get(user.id, set()))
    monkeypatch.setattr(User, "tenants", belongs, raising=False)
    site = make_site(login_required=False, max_clients_per_user=None)
    names: dict[str, Any] = {
        "abort": abort,
        "app": site.app,
        "current_user": current_user,
        "login_required": login_required,
        "request": request,
        "sse_hub": site.hub,
    }
    exec(RULE + VIEW, names)  # noqa: S102
    site.app.add_url_rule("/head", view_func=lambda: render_template_string(SCRIPT))
    return site


def test_an_event_reaches_its_tenant_only(site: Site) -> None:
    """Nobody listens to a tenant of others, or publishes to it."""
    alice, bob = site.browser("alice"), site.browser("bob")
    streams = [each.stream("/events?channel=tenant.7.orders") for each in (alice, bob)]
    other = bob.stream("/events?channel=tenant.8.orders")
    answer = alice.client.post("/tenants/7/orders", json={"number": 1})
    assert answer.status_code == 204
    for stream in streams:
        assert fields(stream.next("order")) == {"number": 1}
    assert alice.client.post("/tenants/8/orders", json={}).status_code == 404
    bob.client.post("/tenants/8/orders", json={"number": 2})
    assert fields(other.next("order")) == {"number": 2}


@pytest.mark.parametrize(
    ("user", "channel", "status"),
    [
        ("alice", "tenant.8.orders", 403),
        ("alice", "tenant.7.user.bob", 403),
        ("alice", "tenant.7.user", 403),
        ("alice", "tenant.7.user.*", 403),
        ("alice", "tenant.7.*", 403),
        ("alice", "tenant.*", 403),
        ("alice", "tenant.7.orders.*", 200),
        ("alice", "tenant", 403),
        ("alice", "7.orders", 403),
        (None, "tenant.7.orders", 403),
        ("alice", "tenant.7.user.alice", 200),
    ],
)
def test_the_rule_asks_for_the_tenant(
    site: Site, user: str | None, channel: str, status: int
) -> None:
    """An anonymous visitor belongs to none."""
    answer = site.browser(user).get(f"/events?channel={channel}")
    assert answer.status_code == status
    answer.close()


def test_the_page_names_its_channels(site: Site) -> None:
    """The second one is for its reader alone."""
    head = site.browser("alice").get("/head").text
    assert "channel=tenant.7.orders" in head
    assert "channel=tenant.7.user.alice" in head


def test_the_settings_are_valid() -> None:
    """The hub accepts them."""
    app = Flask("tenants")
    app.secret_key = "s3cret"
    app.config |= {"SSE_HUB_BROKER_URL": "memory://", "SSE_HUB_LOGIN_REQUIRED": False}
    app.config["TOKEN_OF_7"] = "a-token-of-tenant-7"
    exec(SETTINGS, {"app": app})  # noqa: S102
    SSEHub(app)
    assert app.config["SSE_HUB_HISTORY"]["tenant.*"] == {"events": 1000}
