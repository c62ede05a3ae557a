"""Channel patterns: a stream of ``orders.*`` hears all channels such as ``orders.7``.

A pattern is an address among those of a client, and a channel's event is heard at the
patterns above the channel too. ``heard_at()`` lists these addresses, and is all that a
registry or an index needs: its cost is the number of the channel's parts, however many
patterns there are. Does not know who may listen to what.
"""

import re
from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from ..errors import InvalidName
from .address import Address, checked_channel
from .event import checked_name
from .patterns import matches

#: The most dots of a pattern. Each dot of a channel takes a place in the index of each
#: event, and a name can have more than two hundred of them.
MAX_DOTS: Final = 8

_PATTERN = re.compile(r"[^*]+\.\*", re.DOTALL)

# How many channels' patterns are remembered: those of the channels in use.
_REMEMBERED = 1_024


def is_pattern(name: str) -> bool:
    """Tell whether the name of a subscription is a pattern."""
    return name.endswith(".*")


def is_pattern_address(each: Address) -> bool:
    """Tell whether an address is a pattern. The id of a user may look like one."""
    return each.startswith("c:") and each.endswith(".*")


def checked_subscription(name: object, *, call: str | None = None) -> str:
    """Return the name of a channel, or a pattern, for a stream. Raises InvalidName.

    ``call`` is the function whose arguments are the names, each without a keyword.
    """
    if not isinstance(name, str) or "*" not in name:
        return checked_channel(name, call=call)
    checked_name(name, what="a channel's name")
    if not _PATTERN.fullmatch(name):
        raise InvalidName(
            f"{name!r:.60} is no pattern of channels: only the last part of a name can"
            " be a *, after a dot, as in 'orders.*'. It stands for any number of parts"
        )
    if name.count(".") > MAX_DOTS:
        raise InvalidName(
            f"{name!r:.60} has {name.count('.')} dots; a pattern can have {MAX_DOTS}"
        )
    return name


def heard_at(addresses: Sequence[Address]) -> Sequence[Address]:
    """Return all addresses at which an event is heard, each once.

    They are the event's own and the patterns that cover its channels.
    """
    above = [
        pattern
        for each in addresses
        if each.startswith("c:")
        for pattern in _patterns_above(each)
    ]
    return tuple(dict.fromkeys((*addresses, *above))) if above else addresses


def is_heard(each: Address, listener: Container[Address]) -> bool:
    """Tell whether a listener to some addresses hears what is sent to one address."""
    return any(every in listener for every in heard_at((each,)))


@lru_cache(maxsize=_REMEMBERED)
def _patterns_above(channel: Address) -> tuple[Address, ...]:
    found: list[Address] = []
    # From 3 on: a pattern has a character before its first dot.
    dot = channel.find(".", 3)
    while dot > 0 and len(found) < MAX_DOTS:
        found.append(Address(channel[:dot] + ".*"))
        dot = channel.find(".", dot + 1)
    return tuple(found)


def range_below(pattern: Address) -> tuple[str, str]:
    """Return the first text below a pattern, and the first one after all of them.

    Both are in the order of code points, as a database sorts addresses.
    """
    below = pattern[:-1]
    return below, below[:-1] + chr(ord(".") + 1)


# Names, and the glob patterns of the settings


def covers(subscription: str, name: str) -> bool:
    """Tell whether a channel's name or a pattern covers another name or pattern."""
    return subscription == name or (
        is_pattern(subscription) and name.startswith(subscription[:-1])
    )


def is_within(name: str, globs: Iterable[str]) -> bool:
    """Tell whether one glob pattern matches a channel, or all channels of a pattern."""
    if not is_pattern(name):
        return matches(name, globs)
    below = name[:-1]
    # If the last * of a glob can be empty for a text, it can be anything after it.
    return any(glob.endswith("*") and fnmatchcase(below, glob) for glob in globs)


def reaches(name: str, globs: Iterable[str]) -> bool:
    """Tell whether a glob pattern matches a channel, or any channel of a pattern."""
    if not is_pattern(name):
        return matches(name, globs)
    below = name[:-1]
    # The beginning of the glob matches the text below the pattern, and a channel can
    # have a name that the rest of the glob matches.
    return any(
        fnmatchcase(below, glob[:end]) for glob in globs for end in range(len(glob) + 1)
    )
