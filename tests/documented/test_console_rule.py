"""The rule of docs/operations.md that lets people and programs into the console."""

import hmac
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request

from tests.documented.samples import sample

RULE = sample("docs/operations.md", "python", with_="may_operate")
TOKEN = "a-token-of-enough-characters"


@pytest.mark.parametrize(
    ("is_admin", "sent", "admitted"),
    [
        (True, "", True),
        (False, "", False),
        (False, f"Bearer {TOKEN}", True),
        (False, "Bearer another-token", False),
        (False, "Bearer \u00e9", False),
    ],
)
def test_the_rule_admits_administrators_and_the_token(
    is_admin: bool, sent: str, admitted: bool
) -> None:
    """Nobody else is admitted, whatever the header is."""
    app = Flask("shop")
    names: dict[str, Any] = {
        "app": app,
        "hmac": hmac,
        "request": request,
        "current_user": SimpleNamespace(is_authenticated=is_admin, is_admin=is_admin),
        "PROMETHEUS_TOKEN": TOKEN.encode(),
    }
    exec(RULE, names)  # noqa: S102
    headers = {"Authorization": sent} if sent else {}
    with app.test_request_context(headers=headers):
        assert app.config["SSE_HUB_STATS_ACCESS"]() is admitted
