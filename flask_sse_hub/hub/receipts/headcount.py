"""A headcount: the number of different people, in bounded space.

Each worker counts the people that it has written to, and a person may have streams on
several workers. So the counts cannot be added: they are merged.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

# The bytes of one hash. Two of a thousand people share one about once in 10**9 events.
_BYTES = 6

# How many hashes are kept: the smallest ones. Up to here the number is exact. Of more
# people it is estimated from the largest hash that is kept, to about 3 percent: n
# random hashes divide their range into parts of about the same size.
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Headcount:
    """Some people, as the smallest hashes of their ids, in order."""

    sample: bytes = b""

    @classmethod
    def of(cls, users: Iterable[str]) -> Self:
        """Count users by their ids."""
        return cls._of_hashes(
            hashlib.blake2b(user.encode(), digest_size=_BYTES).digest()
            for user in users
        )

    @classmethod
    def _of_hashes(cls, hashes: Iterable[bytes]) -> Self:
        return cls(b"".join(sorted(set(hashes))[:_MOST]))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a headcount. Raises ValueError."""
        sample = base64.b64decode(text, validate=True)
        if len(sample) % _BYTES or len(sample) > _BYTES * _MOST:
            raise ValueError(f"a headcount cannot have {len(sample)} bytes")
        return cls._of_hashes(_hashes(sample))

    def __str__(self) -> str:
        return base64.b64encode(self.sample).decode()

    def merged(self, other: Self) -> Self:
        """Return the headcount of the people in this one, in the other, or in both."""
        return self._of_hashes((*_hashes(self.sample), *_hashes(other.sample)))

    @property
    def people(self) -> int:
        """The number of people."""
        kept = len(self.sample) // _BYTES
        if kept < _MOST:
            return kept
        largest = int.from_bytes(self.sample[-_BYTES:], "big")
        return max(kept, ((_MOST - 1) << 8 * _BYTES) // max(largest, 1))


def _hashes(sample: bytes) -> Iterable[bytes]:
    starts = range(0, len(sample), _BYTES)
    return (sample[start : start + _BYTES] for start in starts)
