"""The view that one transaction has of a log. Does not know tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ...events.record import Cursor
from ..base import LogBatch


class Fault(Enum):
    """Why a log needs a new epoch, and whether ids of the old one stay valid."""

    #: The newest records may be missing. The ids of all others are good.
    SHORT = "short"
    #: Records are missing, or others may have their ids. No id is good.
    LOSS = "loss"


class Hole(Exception):
    """Raised when a read finds that records are missing between others."""


@dataclass(frozen=True, slots=True)
class View:
    """The log as one transaction sees it."""

    head: Cursor
    #: The last offset of each earlier epoch whose ids are still valid.
    past: Mapping[str, int]
    fault: Fault | None = None


class Appended(NamedTuple):
    """A batch as one transaction appended it, and the cursor right before it.

    A batch that ends at that cursor has to be read from the file.
    """

    before: Cursor
    batch: LogBatch
