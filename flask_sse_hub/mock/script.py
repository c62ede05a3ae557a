"""Scripts for ``flask sse mock``: each line is a JSON object, and each object a step.

Knows the steps of a script, and refuses a script with a wrong step before any step is
played. Does not know clients or connections.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidEvent, InvalidName, InvalidScript
from ..events.address import checked_channel
from ..events.event import (
    MESSAGE,
    check_retry,
    checked_name,
    encode_block,
    encode_retry,
    text_of,
)
from ..events.seconds import checked_seconds

# A day is longer than any test needs. The operating system refuses waits of centuries.
_MAX_WAIT_SECONDS = 86_400.0

# The statuses that refuse a client. After 204 an EventSource never connects again.
_STATUSES = (204, *range(400, 600))


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes. ``event_id`` is the id of the event in them, if it has one."""

    block: bytes
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for a number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """End the connection without an event."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the next client with a status, and ``Retry-After`` in seconds if given."""

    status: int
    retry_after: float | None


# How many wrong lines an error lists. Every line is wrong in a file that is no script.
_SHOWN_WRONG = 20

Step = Send | Wait | Drop | Refuse


def read_script(text: str, *, loop: bool = False) -> list[Step]:
    """Return the steps of a script. With ``loop`` it is to be played again and again.

    Raises InvalidScript. Its text has the numbers of the first wrong lines.
    """
    steps: list[Step] = []
    ids: dict[str, int] = {}
    wrong = []
    # splitlines() would also split at characters that JSON allows within a string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            step = _step_of(line)
            if isinstance(step, Send) and step.event_id is not None:
                first = ids.setdefault(step.event_id, number)
                if first != number:
                    raise ValueError(
                        f"the id {step.event_id!r} is already used in line {first}, so"
                        " a client could not resume from it: choose another id"
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
            "a script that is played again and again needs a wait, or it would never"
            ' pause: add a line such as {"wait": 1}'
        )
    return steps


def _takes_time(step: Step) -> bool:
    return step.seconds > 0 if isinstance(step, Wait) else not isinstance(step, Send)


def _step_of(line: str) -> Step:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the line is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"the line must be a JSON object, not {line.strip():.50}")
    # "retry" can be a step of its own or a part of an event: "data" comes first.
    kind = next((name for name in _STEPS if name in given), None)
    if kind is None:
        raise ValueError(f"{line.strip():.50} has none of {', '.join(_STEPS)}")
    make, allowed = _STEPS[kind]
    unknown = sorted(given.keys() - {kind, *allowed})
    if unknown:
        raise ValueError(
            f"{', '.join(map(repr, unknown))} cannot be beside {kind!r}: leave it out"
        )
    return make(given)


def _event(given: Mapping[str, Any]) -> Step:
    # A null is refused where a key is given: the author of the script means something.
    retry = event_id = None
    fields = ""
    if "retry" in given:
        retry = given["retry"]
        check_retry(retry)
    if "id" in given:
        event_id = checked_name(given["id"], what="an event's id")
    if "channel" in given:
        channel = checked_channel(given["channel"])
        fields = f"channel: {channel}\n"
    if "key" in given:
        key = checked_name(given["key"], what="a key")
        fields += f"key: {key}\n"
    if "deleted" in given:
        if given["deleted"] is not True or "key" not in given:
            raise ValueError("deleted must be true, beside a key")
        fields += "deleted: true\n"
    block = encode_block(
        text_of(given["data"], dumps=json.dumps),
        # The hub's own types are allowed, so that a page can be tried with a reset.
        type=checked_name(given.get("type", MESSAGE), what="an event's type"),
        event_id=event_id,
        retry=retry,
        fields=fields,
    )
    return Send(block, event_id)


def _wait(given: Mapping[str, Any]) -> Step:
    return Wait(_seconds(given["wait"], what="wait"))


def _drop(given: Mapping[str, Any]) -> Step:
    if given["drop"] is not True:
        raise ValueError(f"drop must be true, not {given['drop']!r:.50}")
    return Drop()


def _refuse(given: Mapping[str, Any]) -> Step:
    status, after = given["status"], None
    if type(status) is not int or status not in _STATUSES:
        raise ValueError(f"status must be 204 or from 400 to 599, not {status!r}")
    if "retry_after" in given:
        after = _seconds(given["retry_after"], what="retry_after")
        if not after.is_integer():
            # The header has whole seconds, and clients would ignore a fraction.
            raise ValueError(
                f"retry_after must be a whole number of seconds, not {after}"
            )
    return Refuse(status, after)


def _retry(given: Mapping[str, Any]) -> Step:
    check_retry(given["retry"])
    return Send(encode_retry(given["retry"]).encode())


def _comment(given: Mapping[str, Any]) -> Step:
    text = given["comment"]
    if not isinstance(text, str):
        raise ValueError(f"comment must be text, not {text!r:.50}")
    # No blank line follows: it would make a browser forget its last event id.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Send("".join(f": {line}\n" for line in lines).encode())


def _seconds(value: object, *, what: str) -> float:
    return checked_seconds(value, what=what, most=_MAX_WAIT_SECONDS)


#: Each kind of step by its key: the function that makes it, and other keys it may have.
_STEPS: dict[str, tuple[Callable[[Mapping[str, Any]], Step], tuple[str, ...]]] = {
    "data": (_event, ("type", "id", "retry", "channel", "key", "deleted")),
    "wait": (_wait, ()),
    "drop": (_drop, ()),
    "status": (_refuse, ("retry_after",)),
    "retry": (_retry, ()),
    "comment": (_comment, ()),
}
