"""Webhook signatures: the providers' own examples, and changes that must not fit."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from flask_sse_hub import ConfigurationError, InvalidSignature
from flask_sse_hub.webhooks.schemes import (
    HMAC,
    GitHub,
    Scheme,
    Secrets,
    StandardWebhooks,
    Stripe,
)

Vector = tuple[Scheme, dict[str, str], bytes, float]

SLACK = HMAC(
    "8f742231b10e8888abcd99yyyzzz85a5",
    header="X-Slack-Signature",
    prefix="v0=",
    signed="v0:{time}:{body}",
    time_header="X-Slack-Request-Timestamp",
)

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA"
    b"&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J"
    b"%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

#: Scheme, headers, body and time, copied from each provider's documentation. Stripe's
#: documentation shows a header without its secret, so openssl signed that one.
VECTORS: dict[str, Vector] = {
    "GitHub": (
        GitHub("It's a Secret to Everybody"),
        {
            "X-Hub-Signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        },
        b"Hello, World!",
        0.0,
    ),
    "Stripe": (
        Stripe("whsec_test_secret"),
        {
            "Stripe-Signature": "t=1614556800,v1="
            "7a0685c65fcda9f1dd585b6eaa74ead6d954e5895ecc08263afbd424c5661b46"
            ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
        },
        b'{"id":"evt_1","object":"event"}',
        1614556800.0,
    ),
    "Standard Webhooks": (
        StandardWebhooks("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        {
            "webhook-id": "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "webhook-timestamp": "1649367553",
            "webhook-signature": "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        },
        b'{"email":"test@example.com","username":"test_user"}',
        1649367553.0,
    ),
    "Svix": (
        StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        {
            "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "svix-timestamp": "1614265330",
            "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
        1614265330.0,
    ),
    "Slack": (
        SLACK,
        {
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0="
            "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        SLACK_BODY,
        1531420618.0,
    ),
}
SIGNS_A_TIME = {name: each for name, each in VECTORS.items() if name != "GitHub"}

BODY = b'{"n": 1}'


def hex_of(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def vectors(those: dict[str, Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", those.values(), ids=those)


@vectors(VECTORS)
class TestVectors:
    def test_the_providers_own_signature_is_accepted(self, vector: Vector) -> None:
        """Each provider's documentation has the example."""
        scheme, headers, body, now = vector
        assert scheme.verify(headers, body, now=now)

    def test_each_byte_of_the_body_counts(self, vector: Vector) -> None:
        """A change of any byte is found."""
        scheme, headers, body, now = vector
        for at in range(len(body)):
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            with pytest.raises(InvalidSignature, match="does not fit"):
                scheme.verify(headers, changed, now=now)

    def test_another_secret_does_not_fit(self, vector: Vector) -> None:
        """A sender that does not know the secret cannot sign."""
        scheme, headers, body, now = vector
        other = replace(scheme, secrets="whsec_b3RoZXI=")
        with pytest.raises(InvalidSignature, match="does not fit"):
            other.verify(headers, body, now=now)

    @pytest.mark.parametrize("is_list", [True, False], ids=["list", "callable"])
    def test_any_of_several_secrets_fits(self, vector: Vector, is_list: bool) -> None:
        """While one secret replaces another, the provider signs with either."""
        scheme, headers, body, now = vector
        secrets: Any = ["whsec_b3RoZXI=", scheme.secrets]
        rotating = replace(scheme, secrets=secrets if is_list else lambda: secrets)
        assert rotating.verify(headers, body, now=now)

    def test_a_header_that_is_missing_is_named(self, vector: Vector) -> None:
        """Most likely another sender is calling, or a proxy drops the header."""
        scheme, headers, body, now = vector
        for name in headers:
            if name != "X-GitHub-Delivery":
                less = {key: value for key, value in headers.items() if key != name}
                with pytest.raises(InvalidSignature, match="is missing"):
                    scheme.verify(less, body, now=now)

    @pytest.mark.parametrize(
        "odd", ["é", "ÿ" * 9000, "\ud800", ",=,=", "v1,", "t=1,v1=é", "²", "-1", "1e9"]
    )
    def test_no_header_causes_a_server_error(self, vector: Vector, odd: str) -> None:
        """A header with any text in it makes a refusal."""
        scheme, headers, body, now = vector
        for name in headers:
            if name != "X-GitHub-Delivery":
                with pytest.raises(InvalidSignature):
                    scheme.verify(headers | {name: odd}, body, now=now)

    @pytest.mark.parametrize("empty", ["", b"", [], ["czE=", ""], None])
    def test_an_empty_secret_is_refused(self, vector: Vector, empty: Any) -> None:
        """A literal secret is refused at once, and a callable's when it is used."""
        scheme, headers, body, now = vector
        with pytest.raises(ConfigurationError, match="missing or empty"):
            replace(scheme, secrets=empty)
        late = replace(scheme, secrets=lambda: empty)
        with pytest.raises(ConfigurationError, match="missing or empty"):
            late.verify(headers, body, now=now)

    def test_secrets_are_not_shown(self, vector: Vector) -> None:
        """The repr of a scheme ends up in tracebacks and logs."""
        assert str(vector[0].secrets) not in repr(vector[0])


@vectors(SIGNS_A_TIME)
class TestTime:
    @pytest.mark.parametrize("seconds", [-300.0, 300.0])
    def test_a_time_in_the_window_is_accepted(
        self, vector: Vector, seconds: float
    ) -> None:
        """Five minutes are allowed for delivery and clocks, both ends included."""
        scheme, headers, body, now = vector
        assert scheme.verify(headers, body, now=now + seconds)

    @pytest.mark.parametrize("seconds", [-301.0, 301.0, 10.0**9])
    def test_a_time_outside_the_window_is_refused(
        self, vector: Vector, seconds: float
    ) -> None:
        """A captured delivery cannot be sent again later."""
        scheme, headers, body, now = vector
        with pytest.raises(InvalidSignature, match="too old"):
            scheme.verify(headers, body, now=now + seconds)

    def test_the_window_is_configurable(self, vector: Vector) -> None:
        """Clocks may be worse, or an app stricter."""
        scheme, headers, body, now = vector
        strict: Scheme = replace(scheme, tolerance=1.0)  # type: ignore[call-arg]
        with pytest.raises(InvalidSignature, match="too old"):
            strict.verify(headers, body, now=now + 2.0)


class TestManySignatures:
    """A provider that changes its secret sends one signature for each secret."""

    def test_any_of_stripes_signatures_may_fit(self) -> None:
        """Signatures of other schemes do not count."""
        now, right = 5.0, hex_of("s", b"5." + BODY)
        stripe = Stripe("s")
        header = {"Stripe-Signature": f"t=5,v1={'0' * 64},v1={right}"}
        assert stripe.verify(header, BODY, now=now)
        header = {"Stripe-Signature": f"t=5,v1={'0' * 64},v0={right}"}
        with pytest.raises(InvalidSignature):
            stripe.verify(header, BODY, now=now)

    def test_a_header_with_two_times_is_refused(self) -> None:
        """One time could be the signed one and the other be compared with the clock."""
        right = hex_of("s", b"5." + BODY)
        for times in ("t=5,t=900", "t=900,t=5", ""):
            header = {"Stripe-Signature": f"{times},v1={right}"}
            with pytest.raises(InvalidSignature):
                Stripe("s").verify(header, BODY, now=900.0)

    def test_any_of_the_standards_signatures_may_fit(self) -> None:
        """Asymmetric signatures are skipped."""
        scheme, headers, body, now = VECTORS["Standard Webhooks"]
        right = headers["webhook-signature"]
        many = headers | {"webhook-signature": f"v1a,abc v1,AAAA {right}"}
        assert scheme.verify(many, body, now=now)

    @pytest.mark.parametrize("name", ["Stripe", "Standard Webhooks"])
    def test_the_number_of_compared_signatures_is_bounded(self, name: str) -> None:
        """Each one costs a comparison, and any sender can fill a header with them."""
        scheme, headers, body, now = VECTORS[name]
        before, header = {
            "Stripe": (",v1=", "Stripe-Signature"),
            "Standard Webhooks": ("v1,", "webhook-signature"),
        }[name]
        for count, fits in ((10, True), (16, False)):
            others = {"Stripe": ",v1=0", "Standard Webhooks": "v1,0 "}[name] * count
            many = headers[header].replace(before, others + before, 1)
            if fits:
                assert scheme.verify(headers | {header: many}, body, now=now)
            else:
                with pytest.raises(InvalidSignature):
                    scheme.verify(headers | {header: many}, body, now=now)


class TestIdentity:
    """An attacker can choose no part of the content that identifies a delivery."""

    def test_githubs_identity_is_the_body(self) -> None:
        """GitHub's id is not signed, so a captured delivery could come under any id."""
        scheme, headers, body, now = VECTORS["GitHub"]
        other = headers | {"X-GitHub-Delivery": "another"}
        first, second = (scheme.verify(h, body, now=now) for h in (headers, other))
        assert (first.id, second.id) == (headers["X-GitHub-Delivery"], "another")
        assert first.content == second.content == body

    def test_stripes_identity_is_the_events_id(self) -> None:
        """The body counts the attempts, and each attempt has another time."""
        contents = set()
        for now, tries in ((5, 1), (7, 0)):
            body = json.dumps({"id": "evt_1", "pending_webhooks": tries}).encode()
            signature = hex_of("s", f"{now}.".encode() + body)
            header = {"Stripe-Signature": f"t={now},v1={signature}"}
            signed = Stripe("s").verify(header, body, now=now)
            assert signed.id == "evt_1"
            contents.add(signed.content)
        assert len(contents) == 1

    @pytest.mark.parametrize(
        "body", [b"{", b"[]", b'{"id": 7}', b'{"id": ""}', b"[" * 100_000, b"\xff"]
    )
    def test_stripes_identity_is_the_body_if_there_is_no_id(self, body: bytes) -> None:
        """The body is signed, whatever it holds."""
        header = {"Stripe-Signature": f"t=5,v1={hex_of('s', b'5.' + body)}"}
        assert Stripe("s").verify(header, body, now=5.0) == (None, body)

    def test_no_id_of_stripes_causes_a_server_error(self) -> None:
        """JSON can hold a surrogate that no encoding can write."""
        body = rb'{"id": "\ud800"}'
        header = {"Stripe-Signature": f"t=5,v1={hex_of('s', b'5.' + body)}"}
        assert Stripe("s").verify(header, body, now=5.0).id == "\ud800"

    def test_the_standards_identity_is_its_id(self) -> None:
        """The id is signed. The time changes when a delivery is sent again."""
        scheme, headers, body, now = VECTORS["Svix"]
        signed = scheme.verify(headers, body, now=now)
        assert signed == (headers["svix-id"], headers["svix-id"].encode())


class TestHMAC:
    def test_a_signature_may_be_base64_or_hex(self) -> None:
        """Both write the same digest; Shopify sends base64."""
        digest = hmac.digest(b"s", BODY, "sha256")
        scheme = HMAC("s", header="X-Shopify-Hmac-Sha256", id_header="X-Id")
        headers = {scheme.header: base64.b64encode(digest).decode()}
        assert scheme.verify(headers, BODY, now=0.0) == (None, BODY)
        assert scheme.verify(headers | {"X-Id": "7"}, BODY, now=0.0) == ("7", BODY)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"signed": "{time}"},
            {"signed": "{body}{body}"},
            {"signed": "{time}.{body}"},
            {"time_header": "X-Time"},
        ],
    )
    def test_a_time_must_be_signed_and_have_a_header(
        self, wrong: dict[str, str]
    ) -> None:
        """Any other combination is a mistake in the app."""
        with pytest.raises(ConfigurationError, match="signed"):
            HMAC("s", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_ab-_", "é"])
def test_a_secret_of_the_standard_is_base64(secret: str) -> None:
    """A secret that was taken as text would fit no signature and give no reason."""
    with pytest.raises(ConfigurationError, match="base64"):
        StandardWebhooks(secret)


@pytest.mark.parametrize("secret", [7, [7], {"s"}])
def test_a_secret_is_text_or_bytes(secret: Secrets) -> None:
    """Parsing an environment variable may turn a secret of digits into a number."""
    with pytest.raises(ConfigurationError, match="must be str or bytes"):
        GitHub(secret)


class TestOracle:
    """The package ``standardwebhooks`` signs, and this one verifies."""

    texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)

    @given(
        secret=st.binary(min_size=1),
        delivery_id=texts,
        at=st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)),
        data=st.text(),
        change=st.data(),
    )
    def test_only_the_signed_delivery_is_accepted(
        self,
        secret: bytes,
        delivery_id: str,
        at: datetime,
        data: str,
        change: st.DataObject,
    ) -> None:
        """This holds for any delivery and for any byte that is changed."""
        text = "whsec_" + base64.b64encode(secret).decode()
        now = int(at.replace(tzinfo=UTC).timestamp())
        headers = {
            "webhook-id": delivery_id,
            "webhook-timestamp": str(now),
            "webhook-signature": Webhook(text).sign(delivery_id, at, data),
        }
        body = data.encode()
        for given_secret in (text, text.rstrip("="), text[6:], secret):
            assert StandardWebhooks(given_secret).verify(headers, body, now=now)
        name = change.draw(st.sampled_from(["body", *headers]))
        whole = body if name == "body" else headers[name].encode()
        at_byte = change.draw(st.integers(0, max(0, len(whole) - 1)))
        byte = change.draw(st.binary(min_size=1, max_size=1))
        changed = whole[:at_byte] + byte + whole[at_byte + 1 :]
        if changed == whole:
            return
        if name == "body":
            body = changed
        else:
            headers[name] = changed.decode("latin-1")
        with pytest.raises(InvalidSignature):
            StandardWebhooks(text).verify(headers, body, now=now)
