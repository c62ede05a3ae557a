"""The page about live prices: its view publishes values that a page begins with."""

from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.kit.hand import fields

PRICES = sample("docs/live-prices.md", "python")


def test_a_stream_begins_with_the_prices_that_are_current(make_site: MakeSite) -> None:
    """A delisted share has no price any more."""
    site = make_site(public_channels=["prices"])
    browser = site.browser("alice")
    priced = PRICES[: PRICES.index(")\n") + 1]
    exec(priced, {"sse_hub": site.hub})  # noqa: S102
    stream = browser.stream("/events?channel=prices&state=1")
    assert fields(stream.next("price")) == {"symbol": "AAPL", "price": 201.5}
    exec(PRICES, {"sse_hub": site.hub})  # noqa: S102
    assert fields(stream.next("delisted")) == {"symbol": "AAPL"}
    later = browser.stream("/events?channel=prices&state=1")
    site.hub.publish("next", channel="prices")
    assert later.data(1) == ["next"]
