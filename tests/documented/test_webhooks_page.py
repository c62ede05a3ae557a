"""The samples of the page about webhooks."""

import hashlib
import hmac
import os
import time

import pytest

from flask_sse_hub.webhooks import HMAC
from tests.conftest import MakeSite
from tests.documented.samples import sample

PAGE = "docs/webhooks.md"
GITHUB = sample(PAGE, "python", with_="GitHub(")
SCHEMES = sample(PAGE, "python", with_="X-Slack-Signature")

SECRET = "a secret for tests"
BODY = b'{"ref": "refs/heads/main"}'


def sign(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def test_a_delivery_of_github_is_published_once(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated delivery is not published again. A wrong signature is refused."""
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", SECRET)
    site = make_site(public_channels=["builds"])
    exec(GITHUB, {"app": site.app, "sse_hub": site.hub, "os": os})  # noqa: S102
    browser = site.browser("ada")
    stream = browser.stream("/events?channel=builds")
    stream.next("connected")
    signed = {"X-Hub-Signature-256": f"sha256={sign(BODY)}"}
    for _ in range(2):
        answer = browser.client.post("/webhooks/github", data=BODY, headers=signed)
        assert answer.status_code == 204
    refused = browser.client.post("/webhooks/github", data=b"{}", headers=signed)
    assert refused.status_code == 401
    site.hub.publish("the end")
    assert stream.data(2) == [BODY.decode(), "the end"]


def test_other_services_are_verified_as_shown() -> None:
    """The schemes check the services' own headers, and a signed time."""
    now = time.time()
    of_slack = sign(f"v0:{int(now)}:".encode() + BODY)
    headers = [
        {"X-Signature-256": f"sha256={sign(BODY)}"},
        {
            "X-Shopify-Hmac-Sha256": sign(BODY),
            "X-Shopify-Webhook-Id": "7",
        },
        {
            "X-Slack-Signature": f"v0={of_slack}",
            "X-Slack-Request-Timestamp": str(int(now)),
        },
    ]
    schemes: list[HMAC] = []

    def note(*args: str, **options: str) -> None:
        schemes.append(HMAC(*args, **options))  # type: ignore[arg-type]

    exec(SCHEMES, {"HMAC": note, "secret": SECRET})  # noqa: S102
    for scheme, sent in zip(schemes, headers, strict=True):
        scheme.verify(sent, BODY, now=now)
