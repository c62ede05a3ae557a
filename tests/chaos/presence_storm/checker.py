"""The promises of presence, checked against a whole log and all tabs of a storm.

Knows what was written, seen and answered. Does not know how a storm was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# How much the clocks of a tab and of the log may differ, and how late a tab is read.
_SLACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Change:
    """A presence event in the log, or as a tab has seen it."""

    offset: int
    kind: str
    user: str
    #: The time of the log. Tabs do not know it.
    time: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """The events that one tab has seen, after an offset and up to another one."""

    who: str
    after: int
    upto: int
    changes: Sequence[Change]
    #: The data of each reset, and its id.
    resets: Sequence[str] = ()


#: The times in which streams of a user were open: from a greeting to an end.
Stays = Mapping[str, Sequence[tuple[float, float]]]


def faults_of_log(log: Sequence[Change]) -> Iterator[str]:
    """Yield a fault for each second join or second leave of a person in a row."""
    present: set[str] = set()
    for change in log:
        if change.kind == "join" and change.user in present:
            yield f"{change.user} came twice, at {change.offset}"
        elif change.kind == "leave" and change.user not in present:
            yield f"{change.user} left twice, at {change.offset}"
        if change.kind == "leave":
            present.discard(change.user)
        else:
            present.add(change.user)


def faults_of_graces(
    log: Sequence[Change], stays: Stays, *, grace: float
) -> Iterator[str]:
    """Yield a fault for each leave before the end of the person's grace."""
    for change in log:
        if change.kind != "leave":
            continue
        begin, end = change.time - grace + _SLACK_SECONDS, change.time - _SLACK_SECONDS
        for opened, ended in stays.get(change.user, ()):
            if opened < end and ended > begin:
                yield (
                    f"{change.user} left at {change.offset}, and had a stream from"
                    f" {change.time - opened:.1f} s before to"
                    f" {change.time - min(ended, change.time):.1f} s before"
                )


def faults_of_tab(log: Sequence[Change], seen: Seen) -> Iterator[str]:
    """Yield the faults of one tab.

    It sees the events in the order of the log, each once. It may miss only those that a
    newer one of the same person replaces: a client that lags, or resumes, skips them.
    """
    due = [each for each in log if seen.after < each.offset <= seen.upto]
    places = [each.offset for each in seen.changes]
    if places != sorted(set(places)):
        yield f"{seen.who} has seen events twice, or in another order"
    yield from (f"{seen.who} was reset: {reset}" for reset in seen.resets)
    for each in set(seen.changes).difference(log):
        yield f"{seen.who} has seen {each}, which is not in the log"
    newest = {each.user: each for each in log}
    missed = set(due).difference(seen.changes)
    for each in sorted(missed, key=lambda each: each.offset):
        if newest[each.user] == each:
            yield f"{seen.who} has not seen {each}"


def faults_of_answer(
    who: str, answer: Mapping[str, int], truth: Mapping[str, int]
) -> Iterator[str]:
    """Yield a fault for each wrong number of streams in a worker's answer."""
    for user in sorted(answer.keys() | truth.keys()):
        found, real = answer.get(user), truth.get(user)
        if found != real:
            yield f"{who} says {found} streams of {user}, and there are {real}"
