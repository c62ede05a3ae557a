"""A script that ``flask sse mock`` plays: one JSON object a line, each one step.

Knows what a step may say, and refuses what cannot be played before anything is played.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidEvent, InvalidName, InvalidScript
from ..events.event import (
    MESSAGE,
    check_retry,
    checked_name,
    encode_block,
    encode_retry,
    text_of,
)
from ..events.seconds import checked_seconds

# Longer than anybody waits; beyond some centuries the system refuses to wait at all.
_MAX_WAIT_SECONDS = 86_400.0

# Statuses that end a stream: 204 tells EventSource to stay away for good.
_STATUSES = (204, *range(400, 600))


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes; ``event_id`` is that of the event, if it has one."""

    block: bytes
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Be silent for so long, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """End the connection, without a word."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the next client with a status, after so many seconds to come back."""

    status: int
    retry_after: float | None


# More than fit on a screen; a file of another kind is wrong in each of its lines.
_SHOWN_WRONG = 20

Step = Send | Wait | Drop | Refuse


def read_script(text: str, *, loop: bool = False) -> list[Step]:
    """Return the steps of a script, which may be played again and again.

    Raises InvalidScript, with the first lines that cannot be played and their numbers.
    """
    steps: list[Step] = []
    ids: dict[str, int] = {}
    wrong = []
    # Not splitlines(), which also breaks at what JSON allows within a string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            step = _step_of(line)
            if isinstance(step, Send) and step.event_id is not None:
                first = ids.setdefault(step.event_id, number)
                if first != number:
                    raise ValueError(
                        f"the id {step.event_id!r} is that of line {first}: a client"
                        " could not resume from it"
                    )
        except (ValueError, InvalidEvent, InvalidName) as error:
            wrong.append(f"line {number}: {error}")
        else:
            steps.append(step)
    if wrong:
        left_out = len(wrong) - _SHOWN_WRONG
        if left_out > 0:
            wrong[_SHOWN_WRONG:] = [f"and {left_out} more"]
        raise InvalidScript("\n".join(wrong))
    if not steps:
        raise InvalidScript("the script is empty: write one JSON object a line")
    if loop and not any(_takes_time(step) for step in steps):
        raise InvalidScript(
            "a script that is played again and again needs a wait, as {'wait': 1}: it"
            " would be as fast as the machine"
        )
    return steps


def _takes_time(step: Step) -> bool:
    return step.seconds > 0 if isinstance(step, Wait) else not isinstance(step, Send)


def _step_of(line: str) -> Step:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"a JSON object is needed, not {line.strip():.50}")
    # "retry" is a step of its own, and may also be part of an event.
    kind = next((name for name in _STEPS if name in given), None)
    if kind is None:
        raise ValueError(f"none of {', '.join(_STEPS)} in {line.strip():.50}")
    make, allowed = _STEPS[kind]
    unknown = sorted(given.keys() - {kind, *allowed})
    if unknown:
        raise ValueError(f"{', '.join(map(repr, unknown))} cannot be beside {kind!r}")
    return make(given)


def _event(given: Mapping[str, Any]) -> Step:
    retry = given.get("retry")
    if retry is not None:
        check_retry(retry)
    event_id = given.get("id")
    if event_id is not None:
        event_id = checked_name(event_id, what="an event's id")
    block = encode_block(
        text_of(given["data"], dumps=json.dumps),
        # The hub's own types too: a page that handles a reset is to be tried as well.
        type=checked_name(given.get("type", MESSAGE), what="an event's type"),
        event_id=event_id,
        retry=retry,
    )
    return Send(block, event_id)


def _wait(given: Mapping[str, Any]) -> Step:
    return Wait(_seconds(given["wait"], what="wait"))


def _drop(given: Mapping[str, Any]) -> Step:
    if given["drop"] is not True:
        raise ValueError("drop must be true")
    return Drop()


def _refuse(given: Mapping[str, Any]) -> Step:
    status, after = given["status"], given.get("retry_after")
    if type(status) is not int or status not in _STATUSES:
        raise ValueError(f"status must be 204 or 400 to 599, not {status!r}")
    if after is not None:
        after = _seconds(after, what="retry_after")
        if not after.is_integer():
            # The header has nothing smaller, and clients would not read it.
            raise ValueError(f"retry_after is a whole number of seconds, not {after}")
    return Refuse(status, after)


def _retry(given: Mapping[str, Any]) -> Step:
    check_retry(given["retry"])
    return Send(encode_retry(given["retry"]).encode())


def _comment(given: Mapping[str, Any]) -> Step:
    text = given["comment"]
    if not isinstance(text, str):
        raise ValueError("comment must be text")
    # Without a blank line, which would make a browser forget its last event id.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Send("".join(f": {line}\n" for line in lines).encode())


def _seconds(value: object, *, what: str) -> float:
    return checked_seconds(value, what=what, most=_MAX_WAIT_SECONDS)


#: What a step is called, what makes it, and what may be beside it.
_STEPS: dict[str, tuple[Callable[[Mapping[str, Any]], Step], tuple[str, ...]]] = {
    "data": (_event, ("type", "id", "retry")),
    "wait": (_wait, ()),
    "drop": (_drop, ()),
    "status": (_refuse, ("retry_after",)),
    "retry": (_retry, ()),
    "comment": (_comment, ()),
}
