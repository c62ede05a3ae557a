"""The page about brokers: its setting of channels with a history of their own."""

from flask import Flask

from flask_sse_hub import SSEHub
from flask_sse_hub.events.patterns import ChannelHistories
from tests.documented.samples import sample

SETTING = sample("docs/brokers.md", "python", with_="SSE_HUB_HISTORY")


def test_the_setting_is_valid() -> None:
    """It has two patterns."""
    app = Flask("chat")
    exec(SETTING, {"app": app})  # noqa: S102
    app.secret_key = "s3cret"
    app.config |= {"SSE_HUB_BROKER_URL": "memory://", "SSE_HUB_LOGIN_REQUIRED": False}
    SSEHub(app)
    assert len(ChannelHistories.of(app.config["SSE_HUB_HISTORY"]).by_pattern) == 2
