"""The schemes by which providers sign the deliveries of webhooks.

Each scheme knows which bytes are signed, and which headers have the signatures and the
time. The check itself is the same for all schemes. Does not know Flask, or the meaning
of a delivery.
"""

import base64
import binascii
import hmac
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

from ..errors import ConfigurationError, InvalidSignature

_Secret = str | bytes
_Given = _Secret | list[_Secret] | tuple[_Secret, ...]

#: One secret, or several while one replaces another, or a function that returns either.
#: The function is called for each delivery, so it can read ``current_app.config``.
Secrets = _Given | Callable[[], _Given | None]

# Each signature is compared with each secret, so their number needs a bound. A provider
# sends one signature for each of its secrets.
_MAX_SIGNATURES = 16

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class Headers(Protocol):
    """The headers of a request. Names are case-insensitive."""

    def get(self, name: str, /) -> str | None:
        """Return a header as in WSGI: each byte is one character."""


class Signed(NamedTuple):
    """The identity of a delivery whose signature fits.

    ``id`` is the provider's id of the delivery; some schemes do not sign it.
    ``content`` is always a part of the signed bytes. It is the same each time that the
    provider sends the same delivery again.
    """

    id: str | None
    content: bytes


class _Claim(NamedTuple):
    """The unchecked claims of a delivery; ``time`` is in seconds since 1970."""

    signatures: Sequence[str]
    signed: bytes
    time: str | None = None
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Scheme(ABC):
    """The way in which a provider signs its deliveries. Any one of the secrets may fit.

    Raises ConfigurationError if a secret is missing, empty or malformed. If ``secrets``
    is a function, the error is raised for the delivery for which it is called.

    ``@webhook(scheme)`` calls ``verify()``. To call it yourself, for example::

        scheme = GitHub(secret)
        delivery_id, _ = scheme.verify(
            request.headers, request.get_data(), now=time.time()
        )

    Args:
        secrets: One secret, or several, or a function that returns either.

    """

    secrets: Secrets = field(repr=False)

    #: The prefix of the idempotency keys of the scheme's deliveries.
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not callable(self.secrets):
            self._keys()

    def verify(self, headers: Headers, body: bytes, *, now: float) -> Signed:
        """Check a delivery's signature and time, and return the delivery's identity.

        Args:
            headers: The headers of the request.
            body: The bytes of the request, unchanged. JSON that was parsed and
                serialised again has other bytes.
            now: The time, in seconds since 1970.

        Returns:
            The provider's id of the delivery, and signed content that tells it from
            others.

        Raises:
            InvalidSignature: The signature is missing or does not fit, or the time is
                out of tolerance.
            ConfigurationError: A function for the secrets returned none, or a wrong
                one.

        """
        claim = self._claim(headers, body)
        digests = [hmac.digest(key, claim.signed, "sha256") for key in self._keys()]
        expected = [
            text
            for digest in digests
            for text in (digest.hex().encode(), base64.b64encode(digest))
        ]
        # All pairs are compared, even after a match: the time that a refusal takes must
        # not reveal how close a signature was. With "surrogatepass" no header raises an
        # error here.
        fits = [
            hmac.compare_digest(given.encode(errors="surrogatepass"), right)
            for given in claim.signatures
            for right in expected
        ]
        if not any(fits):
            raise InvalidSignature(
                "the signature does not fit: check that the secret is the provider's"
            )
        if claim.time is not None:
            if not _SECONDS.fullmatch(claim.time):
                raise InvalidSignature("the signature does not fit")
            # Times in the future are refused too: a signature made by a clock that is
            # ahead would be valid for longer.
            if not abs(now - int(claim.time)) <= claim.tolerance:
                raise InvalidSignature(
                    "the signature is too old or from the future: it may differ by"
                    f" {claim.tolerance:g} seconds from this machine's clock"
                )
        return self._identify(headers, body)

    @abstractmethod
    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        """Return the signatures, the signed bytes and the time of a delivery."""

    @abstractmethod
    def _identify(self, headers: Headers, body: bytes) -> Signed:
        """Return the identity of a delivery whose signature fits.

        ``content`` may hold an id only if the id is signed. Otherwise an attacker could
        send a captured delivery again under another id.
        """

    def _keys(self) -> list[bytes]:
        given = self.secrets() if callable(self.secrets) else self.secrets
        secrets = given if isinstance(given, list | tuple) else [given]
        keys = [self._key(secret) for secret in secrets if secret]
        if not keys or len(keys) < len(secrets):
            raise ConfigurationError(
                f"a secret of {type(self).__name__} is missing or empty, and anybody"
                " could sign with that: set the secret that the provider shows"
            )
        return keys

    def _key(self, secret: _Secret) -> bytes:
        if not isinstance(secret, str | bytes):
            raise ConfigurationError(
                f"a secret of {type(self).__name__} must be str or bytes, not"
                f" {type(secret).__name__}"
            )
        return secret.encode() if isinstance(secret, str) else secret


@dataclass(frozen=True, slots=True)
class GitHub(Scheme):
    """GitHub: ``X-Hub-Signature-256`` signs the body, but no time, id or event type.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    For example::

        scheme = GitHub(os.environ["GITHUB_SECRET"])

    Args:
        secrets: One secret, or several, or a function that returns either.

    """

    name = "github"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        header = _needed(headers, "X-Hub-Signature-256")
        return _Claim([header.removeprefix("sha256=")], body)

    def _identify(self, headers: Headers, body: bytes) -> Signed:
        return Signed(headers.get("X-GitHub-Delivery") or None, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripe(Scheme):
    """Stripe: ``Stripe-Signature`` signs the time and the body, which has an event id.

    See https://docs.stripe.com/webhooks#verify-manually
    For example::

        scheme = Stripe(os.environ["STRIPE_SECRET"])

    Args:
        secrets: One secret, or several, or a function that returns either.
        tolerance: How many seconds the time may differ from this machine's clock.

    """

    tolerance: float = 300.0

    name = "stripe"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        header = _needed(headers, "Stripe-Signature")
        parts = [part.partition("=") for part in header.split(",")[:_MAX_SIGNATURES]]
        # Two times are joined and so refused: either one might be the signed one.
        time = ",".join(value for key, _, value in parts if key == "t")
        # Only v1 is a proof: v0 is for tests.
        signatures = [value for key, _, value in parts if key == "v1"]
        return _Claim(signatures, _raw(time) + b"." + body, time, self.tolerance)

    def _identify(self, headers: Headers, body: bytes) -> Signed:  # noqa: ARG002
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            event = None
        event_id = event.get("id") if isinstance(event, dict) else None
        if not isinstance(event_id, str) or not event_id:
            return Signed(None, body)
        # The id identifies a delivery. The body does not: it counts the attempts.
        return Signed(event_id, event_id.encode(errors="surrogatepass"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardWebhooks(Scheme):
    """Standard Webhooks: ``webhook-signature`` signs the id, the time and the body.

    The header names of Svix are accepted too. Secrets given as str are base64, with or
    without ``whsec_``; bytes are used as they are. See
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    For example::

        scheme = StandardWebhooks(os.environ["WEBHOOK_SECRET"])

    Args:
        secrets: One secret, or several, or a function that returns either.
        tolerance: How many seconds the time may differ from this machine's clock.

    """

    tolerance: float = 300.0

    name = "standard-webhooks"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        kind = _kind(headers)
        delivery_id = _needed(headers, f"{kind}-id")
        time = _needed(headers, f"{kind}-timestamp")
        header = _needed(headers, f"{kind}-signature")
        # Only v1 is an HMAC: other versions are asymmetric.
        signatures = [
            part.removeprefix("v1,")
            for part in header.split(" ")[:_MAX_SIGNATURES]
            if part.startswith("v1,")
        ]
        signed = _signed(delivery_id, time, body)
        return _Claim(signatures, signed, time, self.tolerance)

    def sign(self, delivery_id: str, body: bytes, *, now: float) -> dict[str, str]:
        """Return the headers of a delivery that you send: id, time and signatures.

        The body is signed with each secret, so a receiver may know the new one or the
        old one. For example::

            scheme = StandardWebhooks(os.environ["WEBHOOK_SECRET"])
            headers = scheme.sign("msg_7", b'{"paid": true}', now=time.time())

        Args:
            delivery_id: The id of the delivery, the same for each attempt.
            body: The bytes that are sent.
            now: The time of the attempt, in seconds since 1970.

        Raises:
            ConfigurationError: A function for the secrets returned none, or a wrong
                one.

        """
        time = str(int(now))
        signed = _signed(delivery_id, time, body)
        digests = [hmac.digest(key, signed, "sha256") for key in self._keys()]
        signatures = [f"v1,{base64.b64encode(each).decode()}" for each in digests]
        return {
            "webhook-id": delivery_id,
            "webhook-timestamp": time,
            "webhook-signature": " ".join(signatures),
        }

    def _identify(self, headers: Headers, body: bytes) -> Signed:  # noqa: ARG002
        delivery_id = _needed(headers, f"{_kind(headers)}-id")
        return Signed(delivery_id, _raw(delivery_id))

    def _key(self, secret: _Secret) -> bytes:
        if not isinstance(secret, str):
            return Scheme._key(self, secret)  # noqa: SLF001
        return standard_key(secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class HMAC(Scheme):
    """Any provider that signs with HMAC-SHA256, in hex or base64, in a header.

    For example, Slack::

        HMAC(secret, header="X-Slack-Signature", prefix="v0=",
             signed="v0:{time}:{body}", time_header="X-Slack-Request-Timestamp")

    Args:
        secrets: One secret, or several, or a function that returns either.
        header: The header with the signature.
        prefix: The text before the signature in its header.
        signed: The signed text. It must have ``{body}`` once. If a time is signed, it
            has ``{time}`` too.
        time_header: The header with the signed time, in seconds since 1970.
        id_header: The header with the provider's id of the delivery. It need not be
            signed.
        tolerance: How many seconds the time may differ from this machine's clock.

    Raises:
        ConfigurationError: A secret is missing or empty, or ``signed`` does not fit the
            other arguments.

    """

    header: str = "X-Signature-256"
    prefix: str = "sha256="
    signed: str = "{body}"
    time_header: str | None = None
    id_header: str | None = None
    tolerance: float = 300.0

    name = "hmac"

    def __post_init__(self) -> None:
        Scheme.__post_init__(self)
        if self.signed.count("{body}") != 1:
            raise ConfigurationError(
                f"signed={self.signed!r} must have {{body}} exactly once"
            )
        if ("{time}" in self.signed) != (self.time_header is not None):
            # A time that is checked but not signed could be set by an attacker.
            raise ConfigurationError(
                f"signed={self.signed!r} does not fit time_header={self.time_header!r}:"
                " give both {time} and a time_header, or neither"
            )

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        signature = _needed(headers, self.header).removeprefix(self.prefix)
        time = _needed(headers, self.time_header) if self.time_header else None
        before, after = (
            _raw(part.replace("{time}", time or ""))
            for part in self.signed.split("{body}")
        )
        return _Claim([signature], before + body + after, time, self.tolerance)

    def _identify(self, headers: Headers, body: bytes) -> Signed:
        # The body alone: the time differs when a delivery is sent again.
        return Signed(self.id_header and (headers.get(self.id_header) or None), body)


def standard_key(secret: str) -> bytes:
    """Return the key in a secret of Standard Webhooks. Raises ConfigurationError."""
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigurationError(
            "a secret of StandardWebhooks is not base64: set it as the provider shows"
            " it, whsec_ and base64"
        )
    return key


def _needed(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidSignature(
            f"the header {name} is missing, and the signature needs it"
        )
    return value


def _kind(headers: Headers) -> str:
    # Svix had header names of its own before its scheme became a standard.
    is_svix = headers.get("svix-id") and not headers.get("webhook-id")
    return "svix" if is_svix else "webhook"


def _signed(delivery_id: str, time: str, body: bytes) -> bytes:
    """Return the bytes that Standard Webhooks sign."""
    return _raw(f"{delivery_id}.{time}.") + body


def _raw(text: str) -> bytes:
    """Return the bytes of a header. Other characters than bytes never fit."""
    return text.encode("latin-1", "replace")
