"""A run: consecutive records for the same clients, fanned out in one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ...events.coding import Form
from ...events.record import Cursor
from ..clients.client import Connection
from .history import NextBlocks
from .socket_sink import WIDE_WRITE_BYTES
from .stretch import Frame


@dataclass(slots=True)
class Run:
    """Consecutive records for the same clients, fanned out in one piece.

    ``direct`` are the connections of the clients that keep up and are written to. A
    lagging client finds the records in the history. The run leads from the cursor
    ``before`` to ``after``. ``published_at`` is the time of its first event, in seconds
    since 1970; None if the run reaches no client. The events of a ``momentary`` run are
    only for clients that keep up.

    ``before`` is an object of its own. Only clients of the run that kept up have it as
    their cursor. ``reading`` has the blocks that each of them would find in history; it
    is None if some would find fewer.
    """

    before: Cursor
    after: Cursor
    blocks: Sequence[bytes] = ()
    bytes: int = 0
    direct: Sequence[Connection] = ()
    published_at: float | None = None
    momentary: bool = False
    reading: NextBlocks | None = None

    @classmethod
    def of(
        cls, frames: Sequence[Frame], before: Cursor, after: Cursor, *, now: float
    ) -> Self:
        """Return the run of some frames. Those whose time is over are passed over."""
        living = [each for each in frames if each.block and not each.is_over(now)]
        blocks = [each.block for each in living]
        is_plain = bool(blocks) and all(each.is_plain for each in frames)
        return cls(
            Cursor(*before),
            after,
            blocks,
            sum(map(len, blocks)),
            momentary=bool(frames) and frames[0].ttl == 0,
            reading=NextBlocks(blocks, after) if is_plain else None,
        )

    @property
    def events(self) -> int:
        """The number of events in the run."""
        return len(self.blocks)


class Writes(dict[Form, tuple[bytes, int]]):
    """The first write of a run in each form, and the size of the whole run.

    A run longer than one write is finished per client.
    """

    def __init__(self, blocks: Sequence[bytes]) -> None:
        self._blocks = blocks
        #: The whole run, in each form that was used so far.
        self.whole: dict[Form, bytes] = {}

    def __missing__(self, form: Form) -> tuple[bytes, int]:
        whole = form.frame(form.coding.encode(self._blocks))
        self.whole[form] = whole
        self[form] = write = whole[:WIDE_WRITE_BYTES], len(whole)
        return write
