"""Several tabs of one browser: one connection, and one session."""

import pytest

from tests.browser.conftest import SignIn, fill_in
from tests.browser.demo_page import (
    another_tab,
    connected,
    expect,
    publish,
    received,
    wait_for_event,
)

# The kind of delivery does not matter to these tests.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]


def test_all_tabs_share_one_connection(sign_in: SignIn) -> None:
    """When the leader is closed, another tab leads, and no event is lost or doubled."""
    first = connected(sign_in("alice"))
    expect(first, "#sharing", "This tab holds the connection")
    tabs = [connected(another_tab(first)) for _ in range(2)]
    for tab in tabs:
        expect(tab, "#sharing", "Another tab holds the connection: 3 tabs share it.")
    expect(first, "#sharing", "This tab holds the connection: 3 tabs share it.")
    publish(tabs[0], "#to-me", "before the change")
    for page in (first, *tabs):
        wait_for_event(page, "notification", "before the change")
    first.close()
    for tab in tabs:
        expect(tab, "#sharing", "2 tabs share it")
        connected(tab)
    publish(tabs[0], "#to-me", "after the change")
    for tab in tabs:
        wait_for_event(tab, "notification", "after the change")
        texts = received(tab, "notification")
        assert texts == ["before the change", "after the change"]
    roles = sorted(tab.locator("#sharing").text_content() or "" for tab in tabs)
    assert [role.split()[0] for role in roles] == ["Another", "This"]


@pytest.mark.parametrize("leaver", [0, 1], ids=["first", "second"])
def test_signing_out_in_one_tab_is_shown_in_the_other(
    sign_in: SignIn, leaver: int
) -> None:
    """Either tab may hold the connection, which is refused when it reconnects."""
    first = connected(sign_in("alice"))
    tabs = [first, connected(another_tab(first))]
    tabs.pop(leaver).click("#sign-out")
    (other,) = tabs
    expect(other, "#state", "closed: signed out")
    expect(other, "#session", "You signed out in another tab.")
    # Another user may be signed in by then, so the page must not reconnect.
    assert other.locator("#reconnect").is_hidden()
    expect(other, "#sharing", "There is no connection.")
    other.click("#session a")
    fill_in(other, "alice")
    connected(other)


def test_signing_in_again_reconnects_the_other_tab(sign_in: SignIn) -> None:
    """The tab reconnects by itself, and the notice disappears."""
    other = connected(sign_in("alice"))
    page = another_tab(other)
    page.click("#sign-out")
    expect(other, "#session", "You signed out")
    fill_in(page, "alice")
    connected(other)
    assert other.locator("#session").text_content() == ""


def test_a_page_of_another_user_offers_a_reload(sign_in: SignIn) -> None:
    """It still shows the old user's data, and must not add the new user's events."""
    other = connected(sign_in("alice"))
    page = another_tab(other)
    page.click("#sign-out")
    expect(other, "#session", "You signed out")
    fill_in(page, "bob")
    expect(other, "#session", "Somebody else is signed in here now.")
    expect(other, "#state", "closed: somebody else signed in")
    # Connecting again would show bob's events in alice's page.
    other.locator("#reconnect").wait_for(state="hidden")
    other.click("#session button")
    connected(other)
    expect(other, "#signed-in-as", "bob")


def test_a_refused_stream_can_be_tried_again_by_a_button(sign_in: SignIn) -> None:
    """The button appears as soon as the client has given up."""
    page = connected(sign_in("alice"))
    assert page.locator("#reconnect").is_hidden()
    page.route("**/events?*", lambda route: route.fulfill(status=403))
    page.click("#cut")
    expect(page, "#state", "closed: not allowed")
    page.unroute("**/events?*")
    page.click("#reconnect")
    connected(page)
    page.locator("#reconnect").wait_for(state="hidden")
