"""Addresses: whom an event is meant for, without room for a mistake."""

from typing import Any

import pytest

from flask_sse_hub import InvalidName, InvalidTarget
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, UNSET, target


def test_no_target_at_all_is_everybody() -> None:
    """An event without a target is a broadcast."""
    assert target() == (BROADCAST,)


@pytest.mark.parametrize("kind", ["channel", "user", "session", "client"])
def test_none_never_becomes_a_broadcast(kind: str) -> None:
    """user=current_user.get_id() of an anonymous person raises."""
    wrong: dict[str, Any] = {kind: None}
    with pytest.raises(InvalidTarget, match=f"{kind}=None"):
        target(**wrong)


@pytest.mark.parametrize("kind", ["channel", "user", "session", "client"])
def test_a_list_with_none_in_it_is_refused(kind: str) -> None:
    """None among several names addresses nobody that can be told."""
    wrong: dict[str, Any] = {kind: ["a", None]}
    with pytest.raises(InvalidName, match=r"must be a str"):
        target(**wrong)


def test_an_empty_list_is_nobody() -> None:
    """A list that came out empty does not fall back to everybody."""
    assert target(user=[]) == ()


def test_the_union_of_all_targets_is_addressed_once() -> None:
    """Targets of several kinds add up, and repeated ones count once."""
    assert target(channel=["a", "b", "a"], user=7, session="s", client={"c"}) == (
        address.channel("a"),
        address.channel("b"),
        address.user("7"),
        address.session("s"),
        address.client("c"),
    )


def test_ids_compare_as_text() -> None:
    """7 from a database and "7" from a cookie are one user."""
    assert target(user=7) == target(user="7")


def test_an_event_to_very_many_people_belongs_into_a_channel() -> None:
    """Each address is held for as long as the event is."""
    with pytest.raises(InvalidTarget, match="listen to a channel"):
        target(user=range(10_001))


def test_a_generator_of_names_is_a_list_of_names() -> None:
    """Any iterable will do."""
    assert target(user=(n for n in (1, 2))) == target(user=[1, 2])


@pytest.mark.parametrize("name", ["u:42", "*", "s:x", "i:abc"])
def test_no_channel_name_reaches_another_kind(name: str) -> None:
    """The kind is part of an address, so a channel cannot be named like a user."""
    assert address.channel(name) not in {
        BROADCAST,
        address.user("42"),
        address.session("x"),
        address.client("abc"),
    }


@pytest.mark.parametrize(
    "names", [b"bytes", {"a": 1}, 1.5, object()], ids=lambda names: str(type(names))
)
def test_what_is_no_name_is_refused(names: Any) -> None:
    """Bytes, dicts and other things are said to be wrong, not iterated."""
    with pytest.raises(InvalidTarget, match="takes a name or a list of names"):
        target(user=names)


@pytest.mark.parametrize("user", [True, 1.5, b"x", object()])
def test_an_id_is_text_or_a_whole_number(user: Any) -> None:
    """True is an int to Python, and a mistake here."""
    with pytest.raises(InvalidName, match="must be a str or an int"):
        address.user(user)


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb", "a\0b", "x" * 256, "\ud800"])
def test_names_that_have_no_line_are_refused(name: str) -> None:
    """Empty, overlong and multi-line names never become addresses."""
    with pytest.raises(InvalidName):
        address.channel(name)


def test_a_channel_is_named_by_text() -> None:
    """A number is no channel name; nobody could ask for it in a URL by type."""
    with pytest.raises(InvalidName, match="not int"):
        address.channel(7)


def test_the_sentinel_shows_what_it_is() -> None:
    """It appears in signatures and in help()."""
    assert "UNSET" in repr(UNSET)


def test_a_number_that_cannot_be_written_is_no_id() -> None:
    """Python refuses to write very long ones, with an error of its own."""
    with pytest.raises(InvalidName, match="too many digits"):
        address.user(10**5000)
