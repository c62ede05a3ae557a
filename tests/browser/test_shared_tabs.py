"""One connection for all tabs in a real browser. A new leader loses no event."""

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import MakeVisitor
from tests.browser.tabs import QUICK, Numbers, Visitor, renderer_of
from tests.kit.reader import wait_until
from tests.live.server import Server, asleep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

# The events of the app that a page has seen.
TEXTS = "seen.filter(({type}) => type === 'message').map(({data}) => data)"


@pytest.fixture
def numbers(server: Server) -> Numbers:
    return Numbers(server.publish)


def test_twelve_tabs_have_one_connection(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """All are live as one client, although HTTP/1.1 allows only six connections."""
    tabs = make_visitor().shared(12)
    wait_until(lambda: server.connections() == 1)
    assert sorted({tab.role for tab in tabs}) == ["follower", "leader"]
    assert len({tab.get("stream.clientId") for tab in tabs}) == 1


def test_a_tab_begins_at_its_cursor(
    make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """It receives the events since its page was rendered; others receive none twice."""
    visitor = make_visitor()
    visitor.shared(2)
    numbers.publish(5)
    with numbers.published_meanwhile():
        late = [
            visitor.tab("news", cursor=numbers.ids[at], shared=True) for at in (0, 2, 4)
        ]
    numbers.all_arrived(*visitor.tabs)
    assert [tab.numbers[0] for tab in late] == [1, 3, 5]


def test_tabs_with_different_channels_share_the_connection(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """Each tab shows the events of its own channels, also when the leader is closed."""
    visitor = make_visitor()
    (first,) = visitor.shared(1, "news")
    (second,) = visitor.shared(1, "sport")
    (third,) = visitor.shared(1, "news", "sport")
    wait_until(lambda: server.connections() == 1)
    tabs = [first, second, third]

    def publish(part: int) -> None:
        for channel in ("news", "sport", ["news", "sport"], ["sport", "closed"]):
            server.publish(f"{part} {channel}", channel=channel)
        # The last event is for all.
        server.publish(f"{part} end")
        for tab in tabs:
            tab.wait_for(f"{TEXTS}.includes('{part} end')")

    publish(1)
    leader = visitor.leader()
    tabs.remove(leader)
    leader.page.close()
    publish(2)
    wait_until(lambda: server.connections() == 1)
    both, sport = "['news', 'sport']", "['sport', 'closed']"
    expected = {
        id(first): ["news", both],
        id(second): ["sport", both, sport],
        id(third): ["news", "sport", both, sport],
    }
    for tab in tabs:
        assert tab.get(TEXTS) == [
            f"{part} {name}" for part in (1, 2) for name in (*expected[id(tab)], "end")
        ]


def test_other_addresses_have_a_connection_of_their_own(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """The tabs name the URLs of the other connections."""
    visitor = make_visitor()
    visitor.shared(1, "news")
    (tab,) = visitor.shared(1, "news", headers={"X-Own": "1"})
    tab.wait_for("stream.sharing.apart.length")
    (apart,) = tab.get("stream.sharing.apart")
    assert apart == f"{visitor.origin}/events?"
    wait_until(lambda: server.connections() == 2)


def test_only_shared_streams_load_the_code_for_it(make_visitor: MakeVisitor) -> None:
    """A page loads it with its hash, so the browser keeps it for good."""
    visitor = make_visitor()
    loaded: list[str] = []
    visitor.context.on("request", lambda request: loaded.append(request.url))
    visitor.tab("news")
    assert not [url for url in loaded if "sse-hub-shared" in url]
    visitor.shared(1)
    (url,) = (url for url in loaded if "sse-hub-shared" in url)
    assert "?v=" in url


def test_a_tab_that_cannot_load_the_code_connects_alone(
    make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """It reports the reason, and receives all events."""
    visitor = make_visitor()
    visitor.context.route("**/sse-hub-shared.js*", lambda route: route.abort())
    (tab,) = visitor.shared(1)
    assert tab.role == "alone"
    assert "sse-hub-shared.js" in tab.get("stream.sharing.problem")
    numbers.publish(3)
    numbers.all_arrived(tab)


def test_without_locks_each_tab_connects(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """Each tab reports the reason."""
    visitor = make_visitor()
    visitor.context.add_init_script("delete Navigator.prototype.locks")
    for tab in visitor.shared(2):
        assert tab.role == "alone"
        assert "Web Locks" in tab.get("stream.sharing.problem")
    wait_until(lambda: server.connections() == 2)


def test_a_handler_may_close_a_stream_that_was_refused(
    make_visitor: MakeVisitor,
) -> None:
    """The other tabs still notice the logout, on any channel."""
    visitor = make_visitor()
    tabs = visitor.shared(2, "news")
    others = visitor.shared(2, "sport")
    for tab in tabs:
        tab.get("void stream.onState((s) => s.state === 'closed' && s.close())")
    visitor.logout()
    for tab in others:
        tab.wait_for_closed("unauthorized")
    for tab in tabs:
        tab.wait_for("stream.state === 'closed'")
        assert tab.errors == []


def test_another_persons_login_ends_the_streams_of_old_pages(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """A page of one user never shows events of another user."""
    visitor = make_visitor("alice")
    tabs = visitor.shared(3)
    visitor.login("bob")
    (new,) = visitor.shared()
    for tab in tabs:
        tab.wait_for_closed("user-changed")
    server.publish("for bob", user="bob")
    new.wait_for("seen.some(({data}) => data === 'for bob')")
    assert new.get("stream.userId") == "bob"
    for tab in tabs:
        assert not tab.get("seen.some(e => e.data.user_id === 'bob')")
        assert not tab.get("seen.some(({data}) => data === 'for bob')")


def test_two_people_in_two_browsers_share_nothing(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """Each browser receives only its own user's events."""
    alice, bob = make_visitor("alice").shared(2), make_visitor("bob").shared(2)
    for user in ("alice", "bob"):
        server.publish(f"for {user}", user=user)
    server.publish("the end", channel="news")
    for tabs, user in ((alice, "alice"), (bob, "bob")):
        for tab in tabs:
            tab.wait_for("stream.lastEvent?.data === 'the end'")
            texts = tab.get("seen.map(e => e.text).filter(each => /^for/.test(each))")
            assert texts == [f"for {user}"]


def test_a_frozen_leader_is_replaced(
    chromium: "Browser", server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """An old or new tab that is awake takes over. The old leader can follow later."""
    visitor = make_visitor()
    tabs = visitor.shared(3)
    frozen = visitor.leader()
    followers = [tab for tab in tabs if tab is not frozen]
    with asleep(renderer_of(chromium, frozen)):
        numbers.publish(3)
        late = visitor.tab("news", cursor=numbers.ids[0], shared=True)
        numbers.all_arrived(*followers, since=-1)
        numbers.publish(3)
        numbers.all_arrived(late, since=0)
    # The woken tab follows, or it leads again. It has to lead if the current leader
    # has led only for a moment, like the second tab that missed the frozen one: such a
    # leader has not kept the events that this tab slept through.
    visitor.leader()
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    for tab in visitor.tabs:
        tab.live()
    wait_until(lambda: server.connections() == 1)


def test_a_restart_of_the_server_is_not_noticed(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """Old ids remain valid, although the restart begins a new epoch."""
    visitor = make_visitor()
    tabs = visitor.shared(3)
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    server.kill()
    server.restart()
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    late = visitor.tab("news", cursor=numbers.ids[0], shared=True)
    numbers.all_arrived(late, since=0)
    numbers.publish(3)
    numbers.all_arrived(late, since=0)
    numbers.all_arrived(*tabs, since=-1)


def test_an_expired_cursor_resets_only_its_own_tab(chromium: "Browser") -> None:
    """The other tabs have lost no event."""
    with Server(args="--workers 2", history_events=10, **QUICK) as server:
        visitor = Visitor(chromium.new_context(), server.port)
        visitor.login("alice")
        numbers = Numbers(server.publish)
        numbers.publish(20)
        tabs = visitor.shared(2)
        late = visitor.tab("news", cursor=numbers.ids[0], shared=True)
        late.wait_for("resets.length")
        numbers.publish()
        numbers.all_arrived(*tabs, since=19)
        late.wait_for("seen.some(({data}) => data === 20)")
        assert late.get("resets") == ["expired"]
        visitor.context.close()
