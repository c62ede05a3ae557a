"""The arguments of an answer that starts, checked and in the form of the log. Pure."""

import re
from collections.abc import Callable
from typing import Any

from ...errors import InvalidEvent, InvalidName, InvalidOption
from ...events.seconds import checked_seconds
from ...events.typed.registry import EventTypes
from ..batch import LONGEST_SECONDS, Batch
from ..progress import Progress
from ..protocols import AnswerProtocol, Dumps
from .items import stored_item

#: The default batch. Readers do not notice a pause of a tenth of a second. A model
#: yields a few items in that time, and a job many: each record of the log costs about
#: as much as a hundred items.
BATCH = Batch(size=200, interval=0.1)

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_answer_id(answer_id: object) -> bool:
    """Tell whether an answer can have this id."""
    return isinstance(answer_id, str) and _ID.fullmatch(answer_id) is not None


def checked_answer_id(answer_id: object) -> str:
    """Return an id that the app has chosen. Raises InvalidName."""
    if not isinstance(answer_id, str) or not is_answer_id(answer_id):
        raise InvalidName(
            "an answer's id must have 1 to 64 letters, digits, - and _, not"
            f" {answer_id!r:.50}"
        )
    return str.__str__(answer_id)


def seconds_of(name: str, value: object, *, above: float | None = None) -> float:
    """Return a duration. Raises InvalidOption."""
    return checked_seconds(
        value, what=name, above=above, most=LONGEST_SECONDS, error=InvalidOption
    )


def joined(
    batch: Batch, merge: Callable[[list[Any]], Any] | None, spoken: AnswerProtocol
) -> tuple[Batch, bool]:
    """Return the batch with the merge, and whether the answer is text.

    Raises InvalidOption.
    """
    if merge is not None and batch.merge is not None:
        raise InvalidOption("pass merge= once: to start(), or to the Batch")
    merge = merge or batch.merge
    batch = Batch(size=batch.size, interval=batch.interval, merge=merge)
    if merge is not None and spoken.refuses_text:
        raise InvalidOption(
            'merge= makes one text of the items, and protocol="openai" sends chunks:'
            " leave out merge="
        )
    return batch, merge is not None


def converter(
    spoken: AnswerProtocol,
    *,
    dumps: Dumps,
    is_text: bool,
    event_types: EventTypes | None = None,
) -> Callable[[Any], Any]:
    """Return the function that turns an item into the form of the log.

    The function raises InvalidEvent for an item that readers could not be sent.
    """
    # An unsuitable item shall end the answer, and not each of its readers.
    writer = None if spoken.for_event_source else spoken.new_writer(dumps)
    typed = event_types if writer is None else None

    def convert(item: Any) -> Any:
        if isinstance(item, Progress):
            if writer is not None:
                writer.item(item)
            return item
        is_end = spoken.is_end(item)
        if is_text:
            if not isinstance(item, str):
                raise InvalidEvent(
                    f"with merge=, each item must be a str, not {type(item).__name__}"
                )
            return "" if is_end else stored_item(item, dumps=dumps)
        if writer is not None and not is_end:
            writer.item(item)
        if typed is not None:
            item = typed.item(item, dumps=dumps)
        return stored_item(item, dumps=dumps)

    return convert
