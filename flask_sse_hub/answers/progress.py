"""The progress of a job, in the one form that pages know. Pure."""

import json
from dataclasses import dataclass

from ..errors import InvalidEvent
from ..events.event import Event

#: The type of the events that tell of progress.
PROGRESS = "progress"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come: an item of an answer, for a ``<progress>`` element.

    Clients receive an event of the type ``progress``. Its data is a JSON object with
    ``done``, ``total`` and ``text``. An answer that outlives its reader keeps only the
    newest progress. For example::

        def load(rows):
            for number, row in enumerate(rows, 1):
                store(row)
                yield Progress(number, "rows", total=len(rows))

        response = EventSourceResponse(load(rows))

    Args:
        done: How much is done.
        text: A short text for people, such as "rows 400 of 1000".
        total: How much there is to do. The default suits a ``done`` between 0 and 1.

    Raises:
        InvalidEvent: A value has the wrong type, or is negative or not finite.

    """

    done: float
    text: str = ""
    total: float = 1.0

    def __post_init__(self) -> None:
        for name in ("done", "total"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < float("inf"):
                raise InvalidEvent(
                    f"a progress's {name} must be a finite number from 0 up, not"
                    f" {value!r:.50}"
                )
        if not isinstance(self.text, str):
            raise InvalidEvent(
                f"a progress's text must be a str, not {type(self.text).__name__}"
            )

    @property
    def data(self) -> str:
        """The JSON text that clients receive."""
        found = {"done": self.done, "total": self.total, "text": self.text}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    @property
    def event(self) -> Event:
        """The event that clients receive."""
        return Event(self.data, type=PROGRESS)
