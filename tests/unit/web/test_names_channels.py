"""The request for the channels in events with several targets."""

import pytest

from flask_sse_hub.testing import Stream
from tests.conftest import MakeSite


@pytest.mark.parametrize(
    ("query", "confirmed", "name"),
    [("", False, None), ("&names_channels=1", True, "a")],
)
def test_a_stream_names_its_channels_if_it_is_asked(
    make_site: MakeSite, query: str, confirmed: bool, name: str | None
) -> None:
    """The blueprint's stream and a view's: it is about how the client reads."""
    site = make_site(login_required=False, public_channels=["a", "b"])
    site.app.get("/mine")(lambda: site.hub.stream("a"))
    for url in ("/events?channel=a", "/mine?channel=a"):
        with Stream(f"{url}{query}", client=site.app.test_client()) as stream:
            greeting = stream.next("connected").json()
            assert greeting.get("names_channels", False) is confirmed
            site.hub.publish("data", channel=["b", "a"])
            event = stream.next("message")
            assert (event.data, event.channel) == ("data", name)
