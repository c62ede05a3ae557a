"""Addresses: each event's targets are explicit, and mistakes are refused."""

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, current_user
from werkzeug.local import LocalProxy

from flask_sse_hub import InvalidName, InvalidTarget
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, UNSET, target


def test_no_target_is_a_broadcast() -> None:
    """An event without a target is addressed to every client."""
    assert target() == (BROADCAST,)


@pytest.mark.parametrize("kind", ["channel", "user", "session", "client"])
def test_none_never_becomes_a_broadcast(kind: str) -> None:
    """user=current_user.get_id() of an anonymous user raises InvalidTarget."""
    wrong: dict[str, Any] = {kind: None}
    with pytest.raises(InvalidTarget, match=f"{kind}=None"):
        target(**wrong)


@pytest.mark.parametrize("kind", ["channel", "user", "session", "client"])
def test_a_list_with_none_in_it_is_refused(kind: str) -> None:
    """None in a list of names raises InvalidName."""
    wrong: dict[str, Any] = {kind: ["a", None]}
    with pytest.raises(InvalidName, match=r"must be a str"):
        target(**wrong)


class User(UserMixin):  # type: ignore[misc]
    """A user whose id for Flask-Login is not its primary key."""

    id = 7

    def get_id(self) -> str:
        return "alternative"

    def __iter__(self) -> Any:
        # Documents of some databases can be iterated: by the names of their fields.
        return iter(["id", "name"])


@pytest.mark.parametrize(
    "user",
    [User(), LocalProxy(User), [User()], ["alternative", User()]],
    ids=["object", "proxy", "list", "mixed list"],
)
def test_a_user_object_stands_for_its_id_at_flask_login(user: Any) -> None:
    """Streams know a user by ``get_id()``, so the primary key would reach no client."""
    assert target(user=user) == (address.user("alternative"),)


def test_an_anonymous_user_object_is_no_target() -> None:
    """The event would otherwise become a broadcast, or reach no client."""
    with pytest.raises(InvalidTarget, match="user=None"):
        target(user=AnonymousUserMixin())
    with pytest.raises(InvalidName, match="anonymous"):
        target(user=["alice", AnonymousUserMixin()])


def test_the_current_user_of_no_request_is_no_target() -> None:
    """In a thread or a job, Flask-Login's proxy stands for None."""
    app = Flask("any")
    LoginManager(app)
    with app.app_context(), pytest.raises(InvalidTarget, match="user=None"):
        target(user=current_user)


def test_a_class_of_users_is_no_user() -> None:
    """``user=User`` is a slip, and the error is not one of Python's."""
    wrong: Any = User
    with pytest.raises(InvalidTarget, match="takes a name or a list of names"):
        target(user=wrong)


@pytest.mark.parametrize("kind", ["channel", "session", "client"])
def test_only_a_user_has_an_id_of_flask_login(kind: str) -> None:
    """A user object in the place of another name is a mistake."""
    wrong: dict[str, Any] = {kind: AnonymousUserMixin()}
    with pytest.raises(InvalidTarget, match=f"{kind}= takes a name"):
        target(**wrong)


def test_an_empty_list_addresses_no_client() -> None:
    """A list that turns out empty does not become a broadcast."""
    assert target(user=[]) == ()


def test_the_union_of_all_targets_is_addressed_once() -> None:
    """Targets of several kinds add up, and repeated names count once."""
    assert target(channel=["a", "b", "a"], user=7, session="s", client={"c"}) == (
        address.channel("a"),
        address.channel("b"),
        address.user("7"),
        address.session("s"),
        address.client("c"),
    )


def test_ids_compare_as_text() -> None:
    """7 from a database and "7" from a cookie are the same user."""
    assert target(user=7) == target(user="7")


def test_an_event_for_very_many_users_is_refused() -> None:
    """Use a channel instead: an event holds each of its addresses in memory."""
    with pytest.raises(InvalidTarget, match="listen to a channel"):
        target(user=range(10_001))


def test_names_may_come_from_a_generator() -> None:
    """Any iterable of names is accepted."""
    assert target(user=(n for n in (1, 2))) == target(user=[1, 2])


@pytest.mark.parametrize("name", ["u:42", "*", "s:x", "i:abc"])
def test_no_channel_name_reaches_another_kind(name: str) -> None:
    """An address contains its kind, so a channel name cannot address a user."""
    assert address.channel(name) not in {
        BROADCAST,
        address.user("42"),
        address.session("x"),
        address.client("abc"),
    }


@pytest.mark.parametrize(
    "names", [b"bytes", {"a": 1}, 1.5, object()], ids=lambda names: str(type(names))
)
def test_a_target_that_is_no_name_is_refused(names: Any) -> None:
    """Bytes, dicts and other objects raise InvalidTarget and are not iterated over."""
    with pytest.raises(InvalidTarget, match="takes a name or a list of names"):
        target(user=names)


@pytest.mark.parametrize("user", [True, 1.5, b"x", object()])
def test_an_id_is_text_or_a_whole_number(user: Any) -> None:
    """True is an int in Python, but as an id it is a mistake."""
    with pytest.raises(InvalidName, match="must be a str or an int"):
        address.user(user)


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb", "a\0b", "x" * 256, "\ud800"])
def test_names_that_do_not_fit_on_one_line_are_refused(name: str) -> None:
    """Empty, overlong, multi-line and unencodable names never become addresses."""
    with pytest.raises(InvalidName):
        address.channel(name)


def test_a_channel_name_must_be_text() -> None:
    """A URL carries text only, so no client could ask for a number by type."""
    with pytest.raises(InvalidName, match="not int"):
        address.channel(7)


@pytest.mark.parametrize("text", [7, "news", "x:news", "c:"])
def test_a_text_that_is_no_address_is_refused(text: object) -> None:
    """A log that another program writes may have anything as an address."""
    with pytest.raises(InvalidName):
        address.checked(text)


@pytest.mark.parametrize("text", [BROADCAST, "c:news", "u:42"])
def test_a_text_that_is_an_address_is_one(text: str) -> None:
    """The address is the text itself."""
    assert address.checked(text) == text


def test_a_session_of_a_database_is_no_target() -> None:
    """Iterated, it would be the list of its objects."""
    database: Any = SimpleNamespace(commit=lambda: None)
    with pytest.raises(InvalidTarget, match="as after="):
        target(channel=database)


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        (target(), ["everyone"]),
        (target(user=[42, 7], channel="a"), ["channel=a", "user=42", "user=7"]),
        (target(user=[]), ["nobody"]),
    ],
)
def test_addresses_are_told_in_words(
    addresses: tuple[address.Address, ...], told: list[str]
) -> None:
    """An event for nobody has a word too: it may be the fault that is sought."""
    assert sorted(address.told(addresses)) == told


def test_the_sentinel_shows_what_it_is() -> None:
    """The sentinel appears in signatures and in help()."""
    assert "UNSET" in repr(UNSET)


def test_an_id_with_too_many_digits_is_refused() -> None:
    """Python refuses to write very long numbers and raises an error of its own."""
    with pytest.raises(InvalidName, match="too many digits"):
        address.user(10**5000)
