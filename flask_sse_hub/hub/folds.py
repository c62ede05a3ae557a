"""Folds: what each worker works out from the records that workers write for each other.

Each worker reads the same records in the same order, so each one comes to the same
result. Does not know what a fold is about, or how the log is read.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from ..brokers import LogBatch
from ..events.record import Cursor, Record
from ..runtime.coded_log import CodedLog
from ..runtime.greenlets import unhurried
from ..runtime.rare_log import RareLog

log = CodedLog(__name__)


class Fold(Protocol):
    """One fold. Only the follower calls it, in the order of the log."""

    #: The kinds of addresses whose records it takes, such as "a" for answers.
    kinds: Collection[str]

    def restart(self) -> None:
        """Forget everything: records may be missing. Those that are known follow."""

    def take(self, record: Record) -> None:
        """Take the next record.

        After restart(), the first records are values of the state. A record of several
        addresses then comes once for each address, with that address alone.
        """

    def caught_up(self) -> None:
        """Note that all records known at a restart have been taken."""


class Folds:
    """The folds of one worker."""

    def __init__(self) -> None:
        self._folds: list[Fold] = []
        self._by_kind: dict[str, list[Fold]] = {}
        self._rare_log = RareLog(log)

    def add(self, fold: Fold) -> None:
        """Add a fold, before the log is followed."""
        self._folds.append(fold)
        for kind in fold.kinds:
            self._by_kind.setdefault(kind, []).append(fold)

    def begin(
        self, state: Iterable[Record], tail: Iterable[LogBatch], *, upto: Cursor
    ) -> None:
        """Begin again with the state of the log, and then its newest records.

        The state may be later than ``upto``, the place that the tail leads to. Such a
        value comes again with the records that are taken next.
        """
        newer = [
            record
            for batch in tail
            for record in unhurried(batch.records)
            if self._concerned(record)
        ]
        seen = {record.cursor.offset for record in newer}
        kept = [
            record
            for record in unhurried(state)
            if record.cursor.offset <= upto.offset
            and record.cursor.offset not in seen
            and self._concerned(record)
        ]
        for fold in self._folds:
            fold.restart()
        for record in unhurried(sorted(kept + newer, key=_offset)):
            self._hand_over(record)
        for fold in self._folds:
            fold.caught_up()

    def take(self, records: Sequence[Record]) -> None:
        """Hand the next records of the log to the folds that they concern."""
        for record in records:
            if self._concerned(record):
                self._hand_over(record)

    def _concerned(self, record: Record) -> list[Fold]:
        found: list[Fold] = []
        for address in record.addresses:
            for fold in self._by_kind.get(address[:1], ()):
                if fold not in found:
                    found.append(fold)
        return found

    def _hand_over(self, record: Record) -> None:
        for fold in self._concerned(record):
            try:
                fold.take(record)
            except Exception as error:  # noqa: BLE001 - it must not end the follower
                # Another program may have written the record.
                self._rare_log.warning(
                    "SSE-1210",
                    "a record that workers write for each other could not be read, and"
                    f" is passed over: {error!r:.200}",
                )


def _offset(record: Record) -> int:
    return record.cursor.offset
