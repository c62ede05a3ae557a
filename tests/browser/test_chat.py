"""The example app's chat, in a real browser."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import SignIn, fill_in
from tests.browser.demo_page import connected, expect
from tests.demo import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

# It does not matter to these how the hub's streams are delivered.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]

ANSWERS = "#exchanges .answer .text"


@pytest.fixture
def chat(sign_in: SignIn) -> "Page":
    """An empty conversation."""
    page = connected(sign_in("alice", "/chat"))
    page.click("#clear")
    page.wait_for_function(
        "() => document.querySelector('#exchanges').children.length === 0"
    )
    return page


def ask(page: "Page", question: str) -> None:
    """Ask as one does by keyboard."""
    page.focus("#message")
    page.keyboard.type(question)
    page.keyboard.press("Enter")


def begun(page: "Page") -> None:
    """Wait until there is something of an answer."""
    page.wait_for_function(
        "() => document.querySelector('#exchanges .answer .text').textContent !== ''"
    )


def ended(page: "Page", state: str) -> str:
    """Wait until the last answer has ended in a way; return it."""
    page.locator(f"#exchanges li:last-child[data-state={state}]").wait_for()
    return page.locator(ANSWERS).last.inner_text()


def test_an_answer_grows_and_is_in_all_tabs_and_after_a_reload(chat: "Page") -> None:
    """Once in each; it is read out when it is complete, and not word by word."""
    tab = chat.context.new_page()
    tab.goto(chat.url)
    connected(tab)
    chat.evaluate(
        """() => {
          window.said = [];
          window.texts = [];
          const watch = (selector, seen) => new MutationObserver(() => {
            const text = document.querySelector(selector)?.textContent;
            if (text && text !== seen.at(-1)) seen.push(text);
          }).observe(document.querySelector("#chat"),
            { childList: true, subtree: true, characterData: true });
          watch("#said", window.said);
          watch("#exchanges .answer .text", window.texts);
        }"""
    )
    ask(chat, "What is a stream?")
    answer = ended(chat, "complete")
    texts = chat.evaluate("texts")
    assert len(texts) > 5
    assert texts == sorted(texts, key=len)
    assert chat.evaluate("said") == ["Waiting for the answer.", f"Answer: {answer}"]
    assert ended(tab, "complete") == answer
    # The hub tells this tab too.
    chat.locator("#exchanges li[data-kept]").wait_for()
    assert chat.locator("#exchanges li").count() == 1
    chat.reload()
    assert ended(chat, "complete") == answer
    for page in (chat, tab):
        assert page.locator("#exchanges li").count() == 1
        assert page.locator("#exchanges .question").inner_text().endswith("stream?")
    chat.click("#clear")
    tab.wait_for_function(
        "() => document.querySelector('#exchanges').children.length === 0"
    )


def test_what_was_shown_stays_when_it_is_stopped(chat: "Page") -> None:
    """By keyboard alone, and after a reload too; the next answer is another one."""
    ask(chat, "What is a proxy?")
    begun(chat)
    chat.keyboard.press("Tab")
    assert chat.evaluate("document.activeElement.id") == "stop"
    chat.keyboard.press("Enter")
    shown = ended(chat, "stopped")
    # The button is gone, and the focus is where one goes on.
    assert chat.evaluate("document.activeElement.id") == "message"
    chat.reload()
    assert ended(chat, "stopped").startswith(shown)
    expect(chat, "#exchanges .note", "Stopped here.")


def test_a_question_that_is_stopped_at_once_can_be_mended(chat: "Page") -> None:
    """Nothing of it is kept, and it is back where it was written."""
    chat.route("**/api/chat/stream", lambda route: None)
    ask(chat, "What is a porxy?")
    chat.click("#stop")
    chat.wait_for_function(
        "() => document.querySelector('#exchanges').children.length === 0"
    )
    assert chat.input_value("#message") == "What is a porxy?"
    assert chat.is_enabled("#send")


def test_a_double_click_is_one_click(chat: "Page") -> None:
    """Send and Stop are in the same place: its second half is not for the other."""
    asked: list[str] = []
    chat.on("request", lambda request: asked.append(request.url))
    chat.route("**/api/chat/stream", lambda route: None)
    chat.fill("#message", "What is a client?")
    chat.dblclick("#send")
    assert chat.locator("#exchanges li").count() == 1
    chat.dblclick("#stop")
    expect(chat, "#said", "Stopped.")
    assert len([url for url in asked if url.endswith("/api/chat/stream")]) == 1


def test_an_answer_grows_on_where_another_tab_clears(chat: "Page") -> None:
    """What was before it is gone."""
    tab = chat.context.new_page()
    tab.goto(chat.url)
    connected(tab)
    ask(chat, "Please fail")
    ended(chat, "failed")
    ask(chat, "What is a proxy?")
    tab.click("#clear")
    chat.locator("#exchanges li[data-state=failed]").wait_for(state="detached")
    assert chat.locator("#exchanges li[data-state=answering]").count() == 1


def test_who_has_scrolled_up_reads_on_there(chat: "Page", demo: Demo) -> None:
    """Whatever other tabs ask; an own question is gone to."""
    chat.evaluate("document.querySelector('#exchanges').style.height = '10px'")
    body = json.dumps({"message": "What is a stream?"})
    cookie = {"Cookie": demo.cookie("alice"), "Content-Type": "application/json"}
    top = "document.querySelector('#exchanges').scrollTop"
    ask(chat, "Please fail")
    ended(chat, "failed")
    chat.evaluate(f"{top} = 0")
    demo.request("POST", "/api/chat/stream", body, **cookie)
    chat.locator("#exchanges li[data-kept]").wait_for()
    assert chat.evaluate(top) == 0
    ask(chat, "What is a proxy?")
    assert chat.evaluate(top) > 0


def test_an_answer_that_a_proxy_collects_is_there_once(chat: "Page") -> None:
    """The hub tells of it before its own request does."""

    def collect(route: Any) -> None:
        answer = route.fetch()
        chat.locator("#exchanges li[data-kept]").wait_for()
        route.fulfill(response=answer)

    chat.route("**/api/chat/stream", collect)
    ask(chat, "What is a proxy?")
    chat.locator("#said", has_text="Answer: ").wait_for()
    assert chat.locator("#exchanges li").count() == 1


def test_enter_that_ends_a_composition_sends_nothing(chat: "Page") -> None:
    """As one chooses a Japanese word, in the ways in which browsers tell."""
    chat.fill("#message", "こんにちは")
    for sign in ({"isComposing": True}, {"keyCode": 229}):
        chat.dispatch_event("#message", "keydown", {"key": "Enter", **sign})
        assert chat.locator("#exchanges li").count() == 0
    chat.press("#message", "Enter")
    assert chat.locator("#exchanges li").count() == 1


def test_an_error_is_shown_with_what_finds_it_in_the_log(
    chat: "Page", demo: Demo
) -> None:
    """And with a way to try again, which asks the same in its place."""
    ask(chat, "Please fail now")
    ended(chat, "failed")
    end_id = chat.locator("#problem code").inner_text()
    assert end_id.startswith("end-")
    assert f"told with the id {end_id}" in demo.log_path.read_text()
    chat.route(
        "**/api/chat/stream",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body='data: {"content": "better", "done": true}\r\n\r\n'
            'event: done\r\ndata: {"id": "end-0"}\r\n\r\n',
        ),
    )
    chat.click("#problem button")
    assert ended(chat, "complete") == "better"
    assert chat.locator("#exchanges li").count() == 1
    assert chat.locator("#problem").inner_text() == ""


def test_each_way_to_go_wrong_is_told(chat: "Page") -> None:
    """In words, and what was asked is not lost."""
    ways: list[tuple[dict[str, Any] | None, str]] = [
        (None, "The server could not be reached."),
        ({"status": 401}, "You are not signed in any more."),
        ({"status": 400, "json": {"error": "message is odd"}}, "message is odd"),
        ({"status": 502, "body": "<html>"}, "The server answered 502."),
        ({"body": 'data: {"content": "so"}\n\n'}, "The connection ended too early."),
        ({"body": "data: <html>\n\n"}, "The answer could not be understood."),
        (
            {"body": 'event: error\ndata: {"reason": "shutdown", "id": "end-0"}\n\n'},
            "The server is restarting.",
        ),
    ]
    way: dict[str, Any] | None = None
    chat.route(
        "**/api/chat/stream",
        lambda route: route.fulfill(**way) if way else route.abort(),
    )
    for count, (each, told) in enumerate(ways, 1):
        way = each
        ask(chat, "hello")
        expect(chat, "#problem", told)
        assert chat.locator("#problem button").is_visible()
        assert chat.locator("#exchanges li[data-state=failed]").count() == count


def test_a_conversation_that_cannot_be_cleared_stays(chat: "Page") -> None:
    """And the page says why, until it can."""
    ask(chat, "Please fail")
    ended(chat, "failed")
    chat.context.set_offline(True)
    chat.click("#clear")
    expect(chat, "#problem", "The server could not be reached.")
    assert chat.locator("#exchanges li").count() == 1
    chat.context.set_offline(False)
    chat.click("#clear")
    chat.locator("#exchanges li").wait_for(state="detached")
    assert chat.locator("#problem").inner_text() == ""


def test_a_logout_in_another_tab_stops_an_answer(chat: "Page") -> None:
    """Nothing more is shown of it."""
    ask(chat, "What is a worker?")
    begun(chat)
    tab = chat.context.new_page()
    tab.goto(chat.url)
    tab.click("#sign-out")
    ended(chat, "stopped")
    expect(chat, "#session", "You signed out")


def test_nothing_is_asked_in_the_name_of_somebody_else(chat: "Page") -> None:
    """Who has signed in meanwhile, in another tab: what was written stays unsent."""
    chat.focus("#message")
    chat.keyboard.type("a question of alice")
    tab = chat.context.new_page()
    tab.goto(chat.url)
    tab.click("#sign-out")
    fill_in(tab, "bob")
    expect(chat, "#session", "Somebody else is signed in here now.")
    chat.keyboard.press("Enter")
    assert chat.locator("#exchanges li").count() == 0
    assert chat.input_value("#message") == "a question of alice"


def test_a_conversation_is_loaded_anew_where_history_was_lost(
    chat: "Page", demo: Demo
) -> None:
    """What other tabs have asked meanwhile is not known otherwise."""
    kept = [{"id": "1", "question": "q", "answer": "a", "stopped": False}]
    chat.route(
        "**/api/chat/messages",
        lambda route: route.fulfill(json={"exchanges": kept}),
    )
    demo.lose_history()
    expect(chat, "#exchanges .question", "q")
    assert ended(chat, "complete") == "a"


def test_each_line_has_the_direction_of_its_text(chat: "Page") -> None:
    """A short one from right to left ends where a long one does, not at its left."""
    chat.fill("#message", "مرحبا\n" + "x" * 60)
    chat.click("#send")
    assert chat.evaluate(
        """() => {
          const range = document.createRange();
          range.selectNodeContents(document.querySelector(".question .text"));
          const rects = [...range.getClientRects()].filter(({ width }) => width > 9);
          const [short, long] = rects;
          return Math.abs(short.right - long.right) < 2 && short.left > long.left + 100;
        }"""
    )


def test_what_was_written_is_shown_as_it_was_written(chat: "Page") -> None:
    """Lines, and what would be markup; Enter with Shift begins a line."""
    chat.focus("#message")
    assert chat.is_disabled("#send")
    chat.keyboard.type("<b>one</b>")
    chat.keyboard.press("Shift+Enter")
    chat.keyboard.type("two")
    chat.click("#send")
    question = chat.locator("#exchanges .question .text")
    assert question.text_content() == "<b>one</b>\ntwo"
    ended(chat, "complete")
