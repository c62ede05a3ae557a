"""The metadata that an app notes about a client: its check, and its bounds.

Metadata is kept in memory for each client, and people read it in statistics. Does not
know requests.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidMetadata
from ..hub.clients.client import Metadata
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import FirstTime

log = CodedLog(__name__)

_MAX_ITEMS = 16
_MAX_CHARS = 256


def checked_metadata(metadata: object, first_time: FirstTime) -> Metadata | None:
    """Return metadata as it is kept, with long values cut, None if there is none.

    The keys and the types are the app's: a mistake there raises InvalidMetadata. A long
    value is most likely the visitor's, such as a User-Agent, and an error would be a
    500 for a visitor who has done nothing wrong. It is cut, and that is logged once.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or len(metadata) > _MAX_ITEMS:
        raise InvalidMetadata(f"metadata must be a dict of at most {_MAX_ITEMS} items")
    kept = {}
    for key, value in metadata.items():
        if not isinstance(key, str) or len(key) > _MAX_CHARS:
            raise InvalidMetadata(
                f"metadata key {key!r:.50} must be text of at most {_MAX_CHARS}"
                " characters"
            )
        if not isinstance(value, str | int | float | None):
            raise InvalidMetadata(
                f"metadata {key!r} must be text, a number or None, not"
                f" {type(value).__name__}"
            )
        kept[key] = _cut(value)
        if kept[key] is not value and first_time("metadata"):
            log.warning(
                "SSE-1009",
                "metadata %r is longer than %d characters and was cut: shorten it in"
                " the app",
                key,
                _MAX_CHARS,
            )
    return kept


def _cut(value: Any) -> Any:
    """Return a value, or the beginning of its text if that is too long."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_CHARS else value[:_MAX_CHARS]
    # 16**255: str() refuses ints of many more digits, and hex() takes any.
    if isinstance(value, int) and abs(value) >= 16**255:
        return hex(value)[:_MAX_CHARS]
    return value
