"""The page about typing indicators: its view, its setting and its script."""

from flask import Flask
from flask_login import current_user, login_required

from flask_sse_hub import SSEHub
from flask_sse_hub.events.patterns import DefaultTtls
from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.kit.hand import fields

VIEW = sample("docs/typing-indicators.md", "python", with_="def typing")
SETTING = sample("docs/typing-indicators.md", "python", with_="SSE_HUB_TTL")


def test_a_page_learns_that_somebody_types(make_site: MakeSite) -> None:
    """A page that opens after the event was of use does not."""
    site = make_site(public_channels=["typing.*"])
    names = {"app": site.app, "sse_hub": site.hub, "login_required": login_required}
    exec(VIEW, {**names, "current_user": current_user})  # noqa: S102
    browser = site.browser("alice")
    stream = browser.stream("/events?channel=typing.7")
    assert browser.client.post("/rooms/7/typing").status_code == 204
    assert fields(stream.next("typing")) == {"user": "alice"}


def test_the_setting_is_valid() -> None:
    """It has two patterns."""
    app = Flask("typing")
    exec(SETTING, {"app": app})  # noqa: S102
    app.secret_key = "s3cret"
    app.config |= {"SSE_HUB_BROKER_URL": "memory://", "SSE_HUB_LOGIN_REQUIRED": False}
    SSEHub(app)
    assert len(DefaultTtls.of(app.config["SSE_HUB_TTL"]).by_pattern) == 2
