"""What an event is addressed to and a client listens to.

An address is broadcast, a channel, a user, a session or a client. The kind is part of
the value, so that no channel name can ever reach what is meant for a user. Does not
know who may listen to what.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Final, NewType

from ..errors import InvalidName, InvalidTarget
from .event import checked_name

#: A plain string, since it is a key of every registry and index: its hash is computed
#: once and equal ones share memory.
Address = NewType("Address", str)

#: Everybody who is connected.
BROADCAST: Final = Address("*")

#: The most addresses of one event: each is held for as long as the event is.
MAX_TARGETS = 10_000

#: Ids are compared as text, so that 7 from a database and "7" from a cookie are one.
Name = str | int

#: One name, or any number of them; their union is addressed.
Names = Name | Iterable[Name]


class Unset(enum.Enum):
    """The type of UNSET, which says that an argument was left out.

    None could not say it: ``user=current_user.get_id()`` is None for an anonymous
    person, and would become a broadcast.
    """

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def channel(name: Name) -> Address:
    """Return the address of a channel; raises InvalidName, for an int too."""
    return Address("c:" + checked_name(name, what="a channel's name"))


def user(user_id: Name) -> Address:
    """Return the address of all streams of a user; raises InvalidName."""
    return Address("u:" + checked_id(user_id, what="a user's id"))


def session(session_id: Name) -> Address:
    """Return the address of all streams of a session; raises InvalidName."""
    return Address("s:" + checked_id(session_id, what="a session's id"))


def client(client_id: Name) -> Address:
    """Return the address of one client; raises InvalidName."""
    return Address("i:" + checked_id(client_id, what="a client's id"))


def checked(text: object) -> Address:
    """Return the address that a text is; raises InvalidName where it is none."""
    if not isinstance(text, str):
        raise InvalidName(f"an address must be a str, not {type(text).__name__}")
    prefix, colon, name = text.partition(":")
    if text != BROADCAST:
        if not colon or prefix not in _KIND_OF:
            raise InvalidName(f"{text!r:.50} is no address")
        checked_name(name, what=f"a {_KIND_OF[prefix]}'s name")
    return Address(text)


def name_of(each: Address) -> str:
    """Return the name of an address that is not everybody's."""
    return each.partition(":")[2]


def checked_id(value: object, *, what: str) -> str:
    """Return an id given as str or int as the text it is compared by."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            value = str(value)
        except ValueError as error:
            raise InvalidName(f"{what} has too many digits") from error
    if not isinstance(value, str):
        raise InvalidName(
            f"{what} must be a str or an int, not {type(value).__name__}; if None came"
            " from an anonymous user, there is nobody to address"
        )
    return checked_name(value, what=what)


def target(
    *,
    channel: Names | Unset = UNSET,
    user: Names | Unset = UNSET,
    session: Names | Unset = UNSET,
    client: Names | Unset = UNSET,
) -> tuple[Address, ...]:
    """Return the union of the addresses named, each once.

    Nothing given at all is everybody; an empty list is nobody. Raises InvalidTarget for
    None and other things that are no names, and InvalidName for a bad name.
    """
    given = {
        "channel": channel,
        "user": user,
        "session": session,
        "client": client,
    }
    if all(names is UNSET for names in given.values()):
        return (BROADCAST,)
    addresses = tuple(
        dict.fromkeys(
            _ADDRESS_OF[kind](name)
            for kind, names in given.items()
            if not isinstance(names, Unset)
            for name in each_name(names, what=kind)
        )
    )
    if len(addresses) > MAX_TARGETS:
        raise InvalidTarget(
            f"{len(addresses)} addresses in one event; {MAX_TARGETS} are allowed. Let"
            " those concerned listen to a channel"
        )
    return addresses


def each_name(names: Names, *, what: str) -> Iterable[Name]:
    """Return the names of an argument that takes one value or a list."""
    if isinstance(names, str | int):
        return (names,)
    if names is None:
        raise InvalidTarget(
            f"{what}=None names nobody; check for an anonymous user first. What is left"
            " out, unlike None, does not narrow down who is meant"
        )
    if isinstance(names, bytes | Mapping) or not isinstance(names, Iterable):
        raise InvalidTarget(
            f"{what} takes a name or a list of names, not {type(names).__name__}"
        )
    return names


def names_of(addresses: Iterable[Address]) -> dict[str, list[str]] | str:
    """Return the names that addresses stand for, by kind; "everyone" for broadcast."""
    found: dict[str, list[str]] = {}
    for each in addresses:
        if each == BROADCAST:
            return "everyone"
        prefix, _, name = each.partition(":")
        found.setdefault(_KIND_OF[prefix], []).append(name)
    return found


_KIND_OF = {"c": "channel", "u": "user", "s": "session", "i": "client"}
_ADDRESS_OF = {"channel": channel, "user": user, "session": session, "client": client}
