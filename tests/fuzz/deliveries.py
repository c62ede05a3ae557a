"""Webhooks: no delivery is accepted but as its provider has signed it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import strategies as st

from flask_sse_hub import InvalidSignature
from tests.fuzz.edits import Edit, edited, edits
from tests.fuzz.engine import Target, checking
from tests.test_signatures import VECTORS

#: The header that has the time of a delivery, and the one that has its id, where these
#: are signed; Stripe's is a part of the signature's.
_SIGNED = {
    "GitHub": [],
    "Stripe": [],
    "Standard Webhooks": ["webhook-id", "webhook-timestamp"],
    "Svix": ["svix-id", "svix-timestamp"],
    "Slack": ["X-Slack-Request-Timestamp"],
}


class Delivery(NamedTuple):
    """What arrives: a genuine delivery, with what was changed on its way."""

    kind: str
    headers: dict[int, list[Edit]]
    body: list[Edit]
    of_another: str | None
    late: float


def check(delivery: Delivery) -> str:
    """Whatever is accepted is what was signed, and not too old."""
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
    assert arrived == body
    assert all(headers[name] == genuine[name] for name in _SIGNED[delivery.kind])
    if delivery.kind == "Stripe":
        assert _times(headers) == _times(genuine)
    assert delivery.kind == "GitHub" or abs(delivery.late) <= 300.0
    return "accepted"


def _times(headers: Mapping[str, str]) -> list[str]:
    return re.findall("(?:^|,)t=([^,]*)", headers["Stripe-Signature"])


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
