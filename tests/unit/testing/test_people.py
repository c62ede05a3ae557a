"""People who come and leave by hand."""

import pytest

from flask_sse_hub import InvalidOption
from flask_sse_hub.testing import People, Published, Stream
from tests.conftest import MakeSite, Site

ROOM = "room.7"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(
        login_required=False, public_channels=["room.*"], presence=["room.*"]
    )


def test_people_come_and_leave_as_the_test_says(site: Site) -> None:
    """With a stream open or not. The app's published events are not among theirs."""
    people, published = People(site.app), Published(site.app)
    people.join(42, ROOM, data={"name": "Ann"})
    (ann,) = site.hub.present(ROOM)
    assert (ann.user, ann.devices, ann.data) == ("42", 1, {"name": "Ann"})
    url = f"/events?channel={ROOM}&presence=1"
    with Stream(url, client=site.app.test_client()) as stream:
        listed = stream.next("connected").json()["presence"][ROOM]["people"]
        assert [each["user"] for each in listed] == ["42"]
        people.join("bob", ROOM)
        assert stream.next("presence").json()["user"] == "bob"
        people.leave(42, ROOM)
        assert stream.next("presence").json()["type"] == "leave"
        assert [each.user for each in site.hub.present(ROOM)] == ["bob"]
    assert published.events() == []


def test_a_channel_without_presence_is_refused(site: Site) -> None:
    """Nobody would ever be listed there."""
    with pytest.raises(InvalidOption, match="SSE_HUB_PRESENCE"):
        People(site.app).join("ann", "news")
