"""Trimming: how far a log has forgotten its records, for each address.

A client has lost something only if a record for one of its own addresses was trimmed
after its cursor. Every broker and the memory of every worker keep these notes. This
module has the rule and the notes in memory. It does not know how a broker stores them.
"""

from collections.abc import Iterable, Mapping, Sequence

from .address import Address
from .channel_patterns import heard_at

#: How many addresses have a note of their own. A note takes about as much memory as a
#: short event, and few logs have more addresses among their trimmed records.
NOTED_ADDRESSES = 10_000


class TrimNotes:
    """The last trimmed offset of each address, within a bound.

    Beyond the bound, the oldest notes are forgotten. Nothing is known up to the newest
    offset among them.
    """

    def __init__(self, most: int = NOTED_ADDRESSES) -> None:
        self._most = most
        self.restart(0)

    def restart(self, offset: int) -> None:
        """Forget all notes: nothing is known of the records up to an offset."""
        self._unknown = offset
        # In the order of the trims, the oldest first.
        self._last: dict[Address, int] = {}

    def add(self, offset: int, addresses: Sequence[Address]) -> None:
        """Note that a record was trimmed, for each address at which it was heard."""
        last = self._last
        for each in heard_at(addresses):
            last[each] = max(offset, last.pop(each, 0))
        while len(last) > self._most:
            oldest = next(iter(last))
            self._unknown = max(self._unknown, last.pop(oldest))

    def spare(self, after: int, addresses: Iterable[Address]) -> bool:
        """Tell whether no record for these addresses was trimmed after an offset."""
        return is_spared(after, addresses, last=self._last, unknown=self._unknown)


def is_spared(
    after: int,
    addresses: Iterable[Address],
    *,
    last: Mapping[Address, int],
    unknown: int,
) -> bool:
    """Tell whether no record for some addresses was trimmed after an offset.

    ``last`` has the last trimmed offset of each address. Nothing is known of the
    records up to the offset ``unknown``, so any of them counts as lost.
    """
    return after >= unknown and all(last.get(each, 0) <= after for each in addresses)
