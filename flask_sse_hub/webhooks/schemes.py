"""Who signed a webhook's delivery: the schemes of providers.

Each says what is signed, and where a delivery names its signatures and its time; what
is checked, and how, is the same for all. Does not know Flask, or what is delivered.
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

#: One secret; several, while one replaces another; or what returns either, called for
#: each delivery, so that it can come from ``current_app.config``.
Secrets = _Given | Callable[[], _Given | None]

# Each costs a comparison with each secret. A provider sends one for each of its own.
_MAX_SIGNATURES = 16

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class Headers(Protocol):
    """The headers of a request; names are looked up whatever their case."""

    def get(self, name: str, /) -> str | None:
        """Return a header as WSGI has it, each byte a character."""


class Signed(NamedTuple):
    """What a signature has proved.

    ``id`` is the provider's name for the delivery, and not always signed. ``content``
    is: part of what was signed, the same whenever the same delivery comes again.
    """

    id: str | None
    content: bytes


class _Claim(NamedTuple):
    """What a delivery says of itself; the time is in seconds since 1970, if any."""

    signatures: Sequence[str]
    signed: bytes
    time: str | None = None
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Scheme(ABC):
    """How a provider signs its deliveries, with secrets of which any may fit.

    Raises ConfigurationError for secrets that are missing, empty or malformed: at once,
    or for a callable's when it is called.
    """

    secrets: Secrets = field(repr=False)

    #: Begins the idempotency keys of its deliveries.
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not callable(self.secrets):
            self._keys()

    def verify(self, headers: Headers, body: bytes, *, now: float) -> Signed:
        """Return what is proved of a delivery; raise InvalidSignature for a bad one.

        ``body`` is the bytes as they came: JSON that is read and written again differs.
        Raises ConfigurationError.
        """
        claim = self._claim(headers, body)
        digests = [hmac.digest(key, claim.signed, "sha256") for key in self._keys()]
        expected = [
            text
            for digest in digests
            for text in (digest.hex().encode(), base64.b64encode(digest))
        ]
        # Each with each to the end, since how long a refusal takes must not tell how
        # near it was. "surrogatepass": compared as bytes, no header is an error.
        fits = [
            hmac.compare_digest(given.encode(errors="surrogatepass"), right)
            for given in claim.signatures
            for right in expected
        ]
        if not any(fits):
            raise InvalidSignature("the signature does not fit")
        if claim.time is not None:
            if not _SECONDS.fullmatch(claim.time):
                raise InvalidSignature("the signature does not fit")
            # The future too: a clock that is ahead would sign for later.
            if not abs(now - int(claim.time)) <= claim.tolerance:
                raise InvalidSignature("the signature is too old, or ahead of time")
        return self._identify(headers, body)

    @abstractmethod
    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        """Return what is to be checked."""

    @abstractmethod
    def _identify(self, headers: Headers, body: bytes) -> Signed:
        """Return what tells this delivery from others, once it is checked.

        An attacker may send what was captured again under another id, so ``content``
        holds an id only where that is signed.
        """

    def _keys(self) -> list[bytes]:
        given = self.secrets() if callable(self.secrets) else self.secrets
        secrets = given if isinstance(given, list | tuple) else [given]
        keys = [self._key(secret) for secret in secrets if secret]
        if not keys or len(keys) < len(secrets):
            raise ConfigurationError(
                f"a secret of {type(self).__name__} is missing or empty: anybody could"
                " sign with it"
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
    """``X-Hub-Signature-256`` signs the body: neither the time nor the id or event.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """

    name = "github"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        header = _needed(headers, "X-Hub-Signature-256")
        return _Claim([header.removeprefix("sha256=")], body)

    def _identify(self, headers: Headers, body: bytes) -> Signed:
        return Signed(headers.get("X-GitHub-Delivery") or None, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripe(Scheme):
    """``Stripe-Signature`` signs the time and the body, which has the event's id.

    https://docs.stripe.com/webhooks#verify-manually
    """

    tolerance: float = 300.0

    name = "stripe"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        header = _needed(headers, "Stripe-Signature")
        parts = [part.partition("=") for part in header.split(",")[:_MAX_SIGNATURES]]
        # With two times it would be open which one is signed.
        time = ",".join(value for key, _, value in parts if key == "t")
        # Others than v1 are no proof: v0 is for tests.
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
        # Not the body, which counts the attempts to deliver it.
        return Signed(event_id, event_id.encode(errors="surrogatepass"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardWebhooks(Scheme):
    """``webhook-signature`` signs the id, the time and the body; Svix's names do too.

    Secrets are base64, with or without ``whsec_``; bytes are taken as they are.
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    tolerance: float = 300.0

    name = "standard-webhooks"

    def _claim(self, headers: Headers, body: bytes) -> _Claim:
        kind = _kind(headers)
        delivery_id = _needed(headers, f"{kind}-id")
        time = _needed(headers, f"{kind}-timestamp")
        header = _needed(headers, f"{kind}-signature")
        # Others than v1 are asymmetric.
        signatures = [
            part.removeprefix("v1,")
            for part in header.split(" ")[:_MAX_SIGNATURES]
            if part.startswith("v1,")
        ]
        signed = _raw(f"{delivery_id}.{time}.") + body
        return _Claim(signatures, signed, time, self.tolerance)

    def _identify(self, headers: Headers, body: bytes) -> Signed:  # noqa: ARG002
        delivery_id = _needed(headers, f"{_kind(headers)}-id")
        return Signed(delivery_id, _raw(delivery_id))

    def _key(self, secret: _Secret) -> bytes:
        if not isinstance(secret, str):
            return Scheme._key(self, secret)  # noqa: SLF001
        text = secret.removeprefix("whsec_")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key:
            raise ConfigurationError(
                "a secret of StandardWebhooks must be whsec_ and base64, as the"
                " provider shows it"
            )
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class HMAC(Scheme):
    """A header with the HMAC-SHA256 of the body, in hex or base64.

    ``signed`` is what is signed. Where that includes a time, ``time_header`` has it, in
    seconds. Of Slack::

        HMAC(secret, header="X-Slack-Signature", prefix="v0=",
             signed="v0:{time}:{body}", time_header="X-Slack-Request-Timestamp")
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
                f"{{body}} must be signed once, not as in {self.signed!r}"
            )
        if ("{time}" in self.signed) != (self.time_header is not None):
            # Looked at and not signed, it would be whatever an attacker likes.
            raise ConfigurationError(
                "a time that is signed needs a time_header, and one that is not signed"
                f" proves nothing: time_header is {self.time_header!r}, and signed is"
                f" {self.signed!r}"
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
        # Without the time, which is another one when a delivery comes again.
        return Signed(self.id_header and (headers.get(self.id_header) or None), body)


def _needed(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidSignature(f"the header {name} is missing")
    return value


def _kind(headers: Headers) -> str:
    # What Svix sends had names of its own before it became a standard.
    is_svix = headers.get("svix-id") and not headers.get("webhook-id")
    return "svix" if is_svix else "webhook"


def _raw(text: str) -> bytes:
    """Return the bytes of a header; what never came over a wire does not fit."""
    return text.encode("latin-1", "replace")
