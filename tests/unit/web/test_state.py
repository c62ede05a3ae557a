"""State by key, from an app's publish() to its streams."""

from typing import Any

import pytest
from flask import Response

from flask_sse_hub import InvalidEvent, InvalidName, StateFull
from flask_sse_hub.testing import Stream
from tests.conftest import MakeSite, Site


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site whose prices are open to every client."""
    site = make_site(login_required=False, public_channels=["prices"], state_keys=3)

    @site.app.get("/mine")
    def mine() -> Response:
        return site.hub.stream("prices", state=True)

    return site


def stream_of(site: Site, url: str, **options: Any) -> Stream:
    return Stream(url, client=site.app.test_client(), **options)


@pytest.mark.parametrize(
    "url",
    ["/events?channel=prices&state=1", "/events?channel=prices&state=true", "/mine"],
)
def test_a_stream_begins_with_the_values(site: Site, url: str) -> None:
    """The blueprint's stream and a view's do; then they go on live."""
    site.hub.publish({"price": 1}, key="AAPL", channel="prices")
    site.hub.publish({"price": 2}, key="AAPL", channel="prices", type="price")
    with stream_of(site, url) as stream:
        event = stream.next()
        assert (event.json(), event.type) == ({"price": 2}, "price")
        assert (event.key, event.state, event.id) == ("AAPL", True, "")
        site.hub.publish(None, key="AAPL", channel="prices", delete=True)
        event = stream.next()
        assert (event.data, event.key, event.deleted) == ("null", "AAPL", True)
        assert (event.state, event.id != "") == (False, True)


@pytest.mark.parametrize("query", ["", "&state=0", "&state=yes"])
def test_a_stream_that_does_not_ask_begins_live(site: Site, query: str) -> None:
    """A value that means nothing is told to the developer."""
    site.app.debug = True
    site.hub.publish("old", key="AAPL", channel="prices")
    with stream_of(site, f"/events?channel=prices{query}") as stream:
        connected = stream.next("connected").json()
        assert ("warnings" in connected) is bool(query)
        site.hub.publish("new", channel="prices")
        assert stream.next().data == "new"


def test_the_state_has_bounds(site: Site) -> None:
    """The error names the settings; nothing was published."""
    for key in "abc":
        site.hub.publish(1, key=key)
    with pytest.raises(StateFull, match="SSE_HUB_STATE_KEYS"):
        site.hub.publish(1, key="d")
    site.hub.publish(1, key="a", delete=True)
    site.hub.publish(1, key="d")


@pytest.mark.parametrize("key", ["", "a\nb", 7, "x" * 256])
def test_a_key_is_a_name(site: Site, key: Any) -> None:
    """It stands on a line of the wire."""
    with pytest.raises(InvalidName, match="a key"):
        site.hub.publish(1, key=key)


def test_a_delete_needs_a_key(site: Site) -> None:
    """The error says so."""
    with pytest.raises(InvalidEvent, match="pass key="):
        site.hub.publish(None, delete=True)
