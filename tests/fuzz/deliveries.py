"""Webhooks: a delivery is accepted only as its provider has signed it."""

import re
from typing import NamedTuple

from hypothesis import strategies as st

from flask_sse_hub import InvalidSignature
from tests.fuzz.edits import Edit, edited, edits
from tests.fuzz.engine import Target, checking
from tests.unit.webhooks.test_schemes import VECTORS

#: The header with the signature, and the headers that are signed whole.
_HEADERS = {
    "GitHub": ("X-Hub-Signature-256", []),
    "Stripe": ("Stripe-Signature", []),
    "Standard Webhooks": ("webhook-signature", ["webhook-id", "webhook-timestamp"]),
    "Svix": ("svix-signature", ["svix-id", "svix-timestamp"]),
    "Slack": ("X-Slack-Signature", ["X-Slack-Request-Timestamp"]),
}

_HEX_OR_BASE64 = re.compile("[0-9a-f]{64}|[A-Za-z0-9+/]{43}=")


class Delivery(NamedTuple):
    """A genuine delivery, and the changes to it on the way."""

    kind: str
    headers: dict[int, list[Edit]]
    body: list[Edit]
    of_another: str | None
    late: float


def check(delivery: Delivery) -> str:
    """Check that every accepted delivery is as it was signed, and not too old."""
    scheme, genuine, body, now = VECTORS[delivery.kind]
    headers = dict(VECTORS[delivery.of_another][1]) if delivery.of_another else {}
    for number, (name, value) in enumerate(genuine.items()):
        changed = edited(value.encode(), delivery.headers.get(number, []))
        headers[name] = changed.decode("latin-1")
    arrived = edited(body, delivery.body)
    try:
        scheme.verify(headers, arrived, now=now + delivery.late)
    except InvalidSignature:
        return "refused"
    header, signed = _HEADERS[delivery.kind]
    assert arrived == body
    assert all(headers[name] == genuine[name] for name in signed)
    assert _HEX_OR_BASE64.findall(genuine[header])[0] in headers[header]
    if delivery.kind == "Stripe":
        assert _times(headers[header]) == _times(genuine[header])
    assert delivery.kind == "GitHub" or abs(delivery.late) <= 300.0
    return "accepted"


def _times(signature: str) -> list[str]:
    return re.findall("(?:^|,)t=([^,]*)", signature)


TARGET = Target(
    "webhook signatures",
    st.builds(
        Delivery,
        st.sampled_from(sorted(VECTORS)),
        st.dictionaries(st.integers(0, 2), edits, max_size=2),
        st.just([]) | edits,
        st.none() | st.sampled_from(sorted(VECTORS)),
        st.sampled_from([0.0, 0.0, 0.0, 300.0, -300.0, 301.0, -301.0]) | st.floats(),
    ),
    checking(check),
)
