"""The streams of one user that a machine's workers remember, open and ended.

Knows the journal's entries. Does not know how questions travel.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Self

from ..hub.clients.journal import StreamLife

# The most streams of one worker in an answer: those of a page that reconnects each
# second for some minutes.
_MOST = 200


@dataclass(frozen=True, slots=True)
class FoundLives:
    """The newest streams of a user in one worker, which knows all since a time."""

    worker: int
    since: float
    lives: tuple[StreamLife, ...]

    @classmethod
    def among(cls, since: float, lives: Iterable[StreamLife], *, worker: int) -> Self:
        """Take the first of a worker's streams."""
        return cls(worker, since, tuple(islice(lives, _MOST)))

    @property
    def is_cut(self) -> bool:
        """Whether earlier streams of the user are left out: there are too many."""
        return len(self.lives) >= _MOST

    def to_json(self) -> bytes:
        """Return the answer as another worker, or a command, reads it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the answer of a worker. Raises ValueError if it is of another kind."""
        try:
            given = json.loads(data)
            lives = tuple(
                StreamLife(**{**each, "addresses": tuple(each["addresses"])})
                for each in given.pop("lives")
            )
            return cls(**given, lives=lives)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"the streams are of another version: {error}") from error


@dataclass(frozen=True, slots=True)
class MachineLives:
    """The streams of a user on a machine, by worker."""

    found: Sequence[FoundLives]
    silent: tuple[int, ...] = ()
