"""Bearer tokens for publishing over HTTP: how they are configured, what each may do.

Knows neither requests nor events. Only the SHA-256 of a token is kept. That is enough:
what is long and drawn at random cannot be guessed, however quick the hash.
"""

import fnmatch
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Whom an event may be for.
KINDS = ("channel", "user", "session", "client", "everyone")

_FIELDS = ("token", "channels", "targets", "name")
_HASH = "sha256:"

# What RFC 6750 lets stand after "Bearer"; other characters may not arrive as they left.
_TOKEN = re.compile(r"(?=.{16})[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishToken:
    """What whoever sends one token may publish to; ``channels`` are glob patterns."""

    digest: str = field(repr=False)
    channels: tuple[str, ...] = ("*",)
    targets: frozenset[str] = frozenset(KINDS)
    name: str = ""

    @property
    def namespace(self) -> str:
        """What keeps this token's idempotency keys apart from all others."""
        return f"http-{self.digest[:12]}:"

    @property
    def label(self) -> str:
        """What a log line calls it."""
        return self.name or self.digest[:12]

    def allows(self, kind: str) -> bool:
        """Tell whether a kind of target may be addressed at all."""
        return kind in self.targets

    def allows_channel(self, name: str) -> bool:
        """Tell whether a channel may be published to."""
        return self.allows("channel") and matches(name, self.channels)


def mint() -> tuple[str, str]:
    """Return a new token, and the hash of it that a configuration can hold."""
    token = secrets.token_urlsafe(32)
    return token, _HASH + _digest(token)


def find(sent: str, tokens: Iterable[PublishToken]) -> PublishToken | None:
    """Return the entry of the token that was sent, None if there is none."""
    digest = _digest(sent)
    found = None
    # All of them, so that the time it takes does not tell which one, or how nearly.
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def read_tokens(entries: Any) -> tuple[PublishToken, ...]:
    """Return the tokens of a setting.

    Raises ValueError, which names the entry's position and field, never the token.
    """
    if isinstance(entries, str | Mapping):
        entries = [entries]
    if not isinstance(entries, list | tuple):
        raise ValueError("a list of tokens is needed")
    tokens: list[PublishToken] = []
    for position, entry in enumerate(entries):
        token = _read(entry, f"[{position}]")
        if any(token.digest == other.digest for other in tokens):
            raise ValueError(f"[{position}].token: it is there twice")
        tokens.append(token)
    return tuple(tokens)


def read_patterns(value: Any) -> tuple[str, ...]:
    """Return the glob patterns of a setting. Raises ValueError."""
    if isinstance(value, str):
        # One letter each is what iterating it would give.
        value = (value,)
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError("a list of glob patterns is needed")
    if not all(isinstance(pattern, str) and pattern for pattern in value):
        raise ValueError("each pattern must be a string that is not empty")
    return tuple(value)


def matches(channel: str, patterns: Iterable[str]) -> bool:
    """Tell whether a channel's whole name, with its case, is one of the patterns."""
    return any(fnmatch.fnmatchcase(channel, pattern) for pattern in patterns)


def _read(entry: Any, where: str) -> PublishToken:
    if not isinstance(entry, Mapping):
        entry = {"token": entry}
    for key in entry:
        if key not in _FIELDS:
            # The key may be the token, in the wrong place.
            raise ValueError(f"{where}: it may have {', '.join(_FIELDS)}, nothing else")
    read: dict[str, Any] = {}
    for part, read_part in _READERS.items():
        if part in entry or part == "token":
            try:
                read[part] = read_part(entry.get(part))
            except ValueError as error:
                raise ValueError(f"{where}.{part}: {error}") from None
    if "channels" in read:
        # Whoever names channels means these, and nobody else by leaving targets out.
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


def _read_channels(value: Any) -> tuple[str, ...]:
    patterns = read_patterns(value)
    if not patterns:
        raise ValueError("without any pattern it may publish to no channel: name some")
    return patterns


def _read_targets(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        raise ValueError("a list of kinds is needed")
    if not all(isinstance(kind, str) and kind in KINDS for kind in value):
        raise ValueError(f"the kinds are {', '.join(KINDS)}")
    return frozenset(value)


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a short text on one line is needed")
    return value


_READERS = {
    "token": _read_digest,
    "channels": _read_channels,
    "targets": _read_targets,
    "name": _read_name,
}


def _digest(token: str) -> str:
    # A header may bring whatever bytes; each text has a digest of its own.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
