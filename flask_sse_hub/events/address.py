"""Addresses: publishers send events to them, and clients listen to them.

An address is broadcast, a channel, a user, a session or a client. The kind is part of
the value, so a channel can never have the address of a user. Workers have addresses of
their own, to which apps cannot publish: a worker itself, an answer, and the presence in
a channel. Does not know which client may listen to which address.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NewType, Protocol
from uuid import UUID

from ..errors import InvalidName, InvalidTarget
from .event import checked_name

#: A plain string: addresses are the keys of every registry and index. The hash of a
#: string is computed once, and equal strings can share memory.
Address = NewType("Address", str)

#: The address of every connected client.
BROADCAST: Final = Address("*")

#: The most addresses of one event. Addresses take memory for as long as the event is
#: kept.
MAX_TARGETS = 10_000

#: A name or an id. Ids are compared as text: 7 from a database and "7" from a cookie
#: are the same id, and so are a UUID and its text.
Name = str | int | UUID

#: A target: one name or id, or any number of them. The event goes to all of them.
Target = Name | Iterable[Name]


class HasId(Protocol):
    """A user object of Flask-Login, or Flask-Login's ``current_user``."""

    def get_id(self) -> Any:
        """Return the user's id as Flask-Login knows it, None for an anonymous user."""


#: One user or any number of users, by their ids or as user objects.
Users = Name | HasId | Iterable[Name | HasId]


class Unset(enum.Enum):
    """The type of UNSET, the default of an argument that was left out.

    None is not that default, because ``user=current_user.get_id()`` is None for an
    anonymous user. The event would become a broadcast.
    """

    UNSET = "unset"

    def __repr__(self) -> str:
        """Return a short text: it is the default of many arguments in help()."""
        return self.name


UNSET: Final = Unset.UNSET


def channel(name: Name) -> Address:
    """Return the address of a channel. Raises InvalidName; an int is not a name."""
    return Address("c:" + checked_name(name, what="a channel's name"))


def user(user_id: Name | HasId) -> Address:
    """Return the address of all streams of a user. Raises InvalidName."""
    return Address("u:" + checked_id(user_id_of(user_id), what="a user's id"))


def session(session_id: Name) -> Address:
    """Return the address of all streams of a session. Raises InvalidName."""
    return Address("s:" + checked_id(session_id, what="a session's id"))


def client(client_id: Name) -> Address:
    """Return the address of one client. Raises InvalidName."""
    return Address("i:" + checked_id(client_id, what="a client's id"))


def address_of_client(client_id: str) -> Address:
    """Return the address of a client whose id was checked where it came in."""
    return Address("i:" + client_id)


def worker(worker_id: str) -> Address:
    """Return the address of what one worker tells the others about itself."""
    return Address("w:" + worker_id)


def answer(answer_id: str) -> Address:
    """Return the address of one answer's records."""
    return Address("a:" + answer_id)


def presence(channel_name: str) -> Address:
    """Return the address of a channel's events of presence."""
    return Address("p:" + channel_name)


def is_of_client(each: Address) -> bool:
    """Tell whether an address is that of one client."""
    return each.startswith("i:")


def is_of_user(each: Address) -> bool:
    """Tell whether an address is that of all streams of a user."""
    return each.startswith("u:")


def is_of_session(each: Address) -> bool:
    """Tell whether an address is that of all streams of a session."""
    return each.startswith("s:")


def is_presence(each: Address) -> bool:
    """Tell whether events of presence have an address."""
    return each.startswith("p:")


def is_internal(each: Address) -> bool:
    """Tell whether the records at an address are for workers, and never for clients."""
    return each.startswith(_INTERNAL)


def is_of_workers(each: Address) -> bool:
    """Tell whether only workers write to an address. Apps cannot publish to it."""
    return each.startswith(_OF_WORKERS)


def checked(text: object) -> Address:
    """Return a text as an address. Raises InvalidName if it is not an address."""
    if not isinstance(text, str):
        raise InvalidName(f"an address must be a str, not {type(text).__name__}")
    prefix, colon, name = text.partition(":")
    if text != BROADCAST:
        if not colon or prefix not in _KIND_OF:
            raise InvalidName(f"{text!r:.50} is not an address, such as 'c:news'")
        checked_name(name, what=f"a {_KIND_OF[prefix]}'s name")
    return Address(text)


def name_of(each: Address) -> str:
    """Return the name in an address; a broadcast has none."""
    return each.partition(":")[2]


def channel_of(each: Address) -> str | None:
    """Return the name of the channel at an address, None at any other address."""
    return name_of(each) if each.startswith("c:") else None


def only_channel(addresses: Sequence[Address]) -> str | None:
    """Return the name of the channel that is the only address, None without one."""
    return channel_of(addresses[0]) if len(addresses) == 1 else None


def user_id_of(user: Any) -> Any:
    """Return the id of a user object, and any other value as it is.

    The id by which streams know a user is ``get_id()``. It may be another one than the
    primary key: Flask-Security returns ``fs_uniquifier``.
    """
    if user.__class__ is type(None):
        # Also where ``current_user`` stands for no user, outside a request.
        return None
    get_id = None if isinstance(user, type) else getattr(user, "get_id", None)
    return get_id() if callable(get_id) else user


def checked_channel(name: object, *, call: str | None = None) -> str:
    """Return the name of a channel that an app or a client names. Raises InvalidName.

    A name with a * is refused, which the log itself may hold.

    ``call`` is the function whose arguments are the names, each without a keyword.
    """
    if call is not None and isinstance(name, list | tuple | set | frozenset):
        raise InvalidName(
            f"{call}() takes each channel's name as an argument of its own, not a"
            f" {type(name).__name__}: use {call}(*names)"
        )
    if isinstance(name, int | UUID):
        raise InvalidName(
            f"a channel's name must be a str, not {type(name).__name__}: write it as"
            " text, such as 'orders.7'"
        )
    text = checked_name(name, what="a channel's name")
    if "*" in text:
        # No stream could listen to it alone.
        raise InvalidName(
            f"{text!r:.60} is a pattern, not a channel's name: name each channel."
            " Streams listen to patterns such as 'orders.*', and settings have them"
        )
    return text


def checked_id(value: object, *, what: str) -> str:
    """Return an id, given as str, int or UUID, as text. Raises InvalidName."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            value = str(value)
        except ValueError as error:
            raise InvalidName(
                f"{what} has too many digits: pass a shorter int, or a str"
            ) from error
    if not isinstance(value, str):
        anonymous = "" if value is not None else ". None is the id of an anonymous user"
        raise InvalidName(
            f"{what} must be a str or an int or a UUID, not"
            f" {type(value).__name__}{anonymous}"
        )
    return checked_name(value, what=what)


def target(
    *,
    channel: Target | Unset = UNSET,
    user: Users | Unset = UNSET,
    session: Target | Unset = UNSET,
    client: Target | Unset = UNSET,
    broadcasts: bool = True,
) -> tuple[Address, ...]:
    """Return the addresses of all given names, each once.

    Without any argument, returns the broadcast address. An empty list adds no address.
    ``broadcasts`` tells whether the caller's own caller may leave out all targets; the
    text of an error says so.

    Raises:
        InvalidTarget: An argument is None or not a name, or there are too many
            addresses.
        InvalidName: A name is not usable.

    """
    given = {
        "channel": channel,
        # Asked for its id first: the user objects of some databases can be iterated.
        "user": user_id_of(user),
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
            for name in each_name(names, what=kind, optional=broadcasts)
        )
    )
    if len(addresses) > MAX_TARGETS:
        raise InvalidTarget(
            f"the event has {len(addresses)} addresses; {MAX_TARGETS} are allowed. Have"
            " the clients listen to a channel, and publish to that"
        )
    return addresses


def each_name(names: Target, *, what: str, optional: bool = False) -> Iterable[Name]:
    """Return the names in an argument that is one name or a list of names.

    ``optional`` tells whether a publisher may leave the argument out and broadcast.
    Raises InvalidTarget if the argument is neither.
    """
    if isinstance(names, str | int | UUID):
        return (names,)
    if names is None:
        raise InvalidTarget(_not_none(what, optional=optional))
    if callable(getattr(names, "commit", None)):
        # Iterated, a session of SQLAlchemy would be a list of its objects.
        raise InvalidTarget(
            f"{what}= takes a name or a list of names, not {type(names).__name__}: pass"
            " the session of a database as after="
        )
    if isinstance(names, bytes | Mapping) or not isinstance(names, Iterable):
        raise InvalidTarget(
            f"{what}= takes a name or a list of names, not {type(names).__name__}: pass"
            " its id"
        )
    return names


def _not_none(what: str, *, optional: bool) -> str:
    probably = _PROBABLY.get(what, "")
    kind = "channel's name" if what.startswith("channel") else f"{what}'s id"
    if not optional:
        return f"`{what}=None` is not a target{probably}. Pass a {kind}."
    if what == "user":
        return f"`user=None` is not a target{probably}. Leave out `user=` to broadcast."
    return (
        f"`{what}=None` is not a target{probably}. Pass a {kind}, or leave out"
        f" `{what}=` to broadcast."
    )


def _named_channel(name: Name) -> Address:
    return channel(checked_channel(name))


def names_of(addresses: Iterable[Address]) -> dict[str, list[str]] | str:
    """Return the names in addresses, by kind; "everyone" if one is the broadcast."""
    found: dict[str, list[str]] = {}
    for each in addresses:
        if each == BROADCAST:
            return "everyone"
        prefix, _, name = each.partition(":")
        found.setdefault(_KIND_OF[prefix], []).append(name)
    return found


def told(addresses: Iterable[Address]) -> list[str]:
    """Return addresses for a person to read, such as "user=42".

    Without any there is "nobody": the list of users, say, was empty.
    """
    names = names_of(addresses)
    if isinstance(names, str):
        return [names]
    found = [f"{kind}={name}" for kind, each in names.items() for name in each]
    return found or ["nobody"]


# The usual source of a None in the place of a target.
_PROBABLY = {"user": " (anonymous user?)", "channel": " (a name that was not found?)"}

_KIND_OF = {
    "c": "channel",
    "u": "user",
    "s": "session",
    "i": "client",
    "w": "worker",
    "a": "answer",
    "p": "presence",
}
_INTERNAL = ("a:", "w:")
_OF_WORKERS = (*_INTERNAL, "p:")
_ADDRESS_OF = {
    "channel": _named_channel,
    "user": user,
    "session": session,
    "client": client,
}
