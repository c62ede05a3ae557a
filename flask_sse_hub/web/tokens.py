"""Bearer tokens for publishing over HTTP: their configuration and their rights.

Knows neither requests nor events. Only the SHA-256 of a token is kept. A fast hash is
enough here: a long random token cannot be guessed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..events.patterns import matches
from .rates import parse_rate

#: The kinds of targets to which a token may publish.
KINDS = ("channel", "user", "session", "client", "everyone")

_FIELDS = ("token", "channels", "targets", "types", "rate", "share", "name")
_HASH = "sha256:"

# The characters that RFC 6750 allows after "Bearer". Others may be altered on the way.
_TOKEN = re.compile(r"(?=.{16})[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishToken:
    """One token, with its channels, its types of events and its rate.

    ``channels`` and ``types`` are glob patterns. ``rate`` is a text such as
    "100/minute", which counts events; None means no limit. ``share`` is the part of the
    log that its events may fill, from 0 to 1.
    """

    digest: str = field(repr=False)
    channels: tuple[str, ...] = ("*",)
    targets: frozenset[str] = frozenset(KINDS)
    types: tuple[str, ...] = ("*",)
    rate: str | None = None
    share: float = 1.0
    name: str = ""

    @property
    def namespace(self) -> str:
        """The prefix that keeps this token's idempotency keys apart from all others."""
        return f"http-{self.digest[:12]}:"

    @property
    def label(self) -> str:
        """The name of the token in log lines. It does not reveal the token."""
        return self.name or self.digest[:12]

    def allows(self, kind: str) -> bool:
        """Tell whether the token may publish to any target of this kind."""
        return kind in self.targets

    def allows_channel(self, name: str) -> bool:
        """Tell whether the token may publish to this channel."""
        return self.allows("channel") and matches(name, self.channels)

    def allows_type(self, name: str) -> bool:
        """Tell whether the token may publish events of this type."""
        return matches(name, self.types)


def mint() -> tuple[str, str]:
    """Return a new token, and its hash for the configuration."""
    token = secrets.token_urlsafe(32)
    return token, _HASH + _digest(token)


def find(sent: str, tokens: Iterable[PublishToken]) -> PublishToken | None:
    """Return the configured token that was sent, None if there is none."""
    digest = _digest(sent)
    found = None
    # Compare with all tokens: the time taken then reveals neither which one matched nor
    # how nearly.
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def read_tokens(entries: Any) -> tuple[PublishToken, ...]:
    """Return the tokens of a setting.

    Raises ValueError. Its text names the entry's position and field, never the token.
    """
    if isinstance(entries, Mapping):
        entries = [entries]
    if not isinstance(entries, list | tuple):
        raise ValueError(f"a list of tokens is needed{_not_text(entries)}")
    tokens: list[PublishToken] = []
    for position, entry in enumerate(entries):
        token = _read(entry, f"[{position}]")
        if any(token.digest == other.digest for other in tokens):
            raise ValueError(
                f"[{position}].token: this token is in the list twice: remove one entry"
            )
        tokens.append(token)
    return tuple(tokens)


def read_patterns(value: Any) -> tuple[str, ...]:
    """Return the glob patterns of a setting. Raises ValueError."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError(f"a list of strings is needed{_not_text(value)}")
    if not all(isinstance(pattern, str) and pattern for pattern in value):
        raise ValueError("each entry of the list must be a string that is not empty")
    return tuple(value)


def _not_text(value: object) -> str:
    """Return the remedy for a text in the place of a list."""
    # "a,b" and "a b" in the environment are one text, which would match nothing.
    if not isinstance(value, str):
        return ""
    return ', not a str. In the environment write a list in JSON, as in ["one", "two"]'


def _read(entry: Any, where: str) -> PublishToken:
    if not isinstance(entry, Mapping):
        entry = {"token": entry}
    for key in entry:
        if key not in _FIELDS:
            # Leave the key out of the text: it may be the token, in the wrong place.
            raise ValueError(
                f"{where}: it has an unknown key; the keys are {', '.join(_FIELDS)}"
            )
    read: dict[str, Any] = {}
    for part, read_part in _READERS.items():
        if part in entry or part == "token":
            try:
                read[part] = read_part(entry.get(part))
            except ValueError as error:
                raise ValueError(f"{where}.{part}: {error}") from None
    if "channels" in read:
        # An entry with channels and without targets is limited to these channels.
        read["targets"] = read.get("targets", frozenset()) | {"channel"}
    digest = read.pop("token")
    return PublishToken(digest=digest, **read)


def _read_digest(value: Any) -> str:
    if isinstance(value, str):
        if re.fullmatch(_HASH + "[0-9a-fA-F]{64}", value):
            return value.removeprefix(_HASH).lower()
        if _TOKEN.fullmatch(value):
            return _digest(value)
    raise ValueError(
        "at least 16 letters, digits and -._~+/ are needed, or sha256: and the 64 hex"
        " digits of their hash (`flask sse token` makes one)"
    )


def _read_patterns(value: Any) -> tuple[str, ...]:
    patterns = read_patterns(value)
    if not patterns:
        raise ValueError(
            "the list is empty, so the token could publish nothing: add a pattern, or"
            " leave out the list"
        )
    return patterns


def _read_targets(value: Any) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        raise ValueError(
            f"a list of kinds is needed, of {', '.join(KINDS)}{_not_text(value)}"
        )
    if not all(isinstance(kind, str) and kind in KINDS for kind in value):
        raise ValueError(f"the kinds are {', '.join(KINDS)}")
    return frozenset(value)


def _read_rate(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text such as 100/minute is needed")
    parse_rate(value)
    return value


def _read_share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number from 0 to 1 is needed, such as 0.1")
    if not 0 < value <= 1:
        raise ValueError(f"{value} is not above 0 and at most 1")
    parse_rate("1/second")
    return float(value)


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a short text on one line is needed")
    return value


_READERS = {
    "token": _read_digest,
    "channels": _read_patterns,
    "targets": _read_targets,
    "types": _read_patterns,
    "rate": _read_rate,
    "share": _read_share,
    "name": _read_name,
}


def _digest(token: str) -> str:
    # A header may contain any bytes, so lone surrogates must not raise here.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
