"""The example app's chat, in a real browser."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import SignIn, fill_in
from tests.browser.demo_page import connected, expect
from tests.kit.demo import Demo
from tests.kit.reader import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

# The hub's kind of delivery does not matter to these tests.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]

ANSWERS = "#exchanges .answer .text"

#: A question whose answer is still being made when the steps of a test come to it.
LONG = "What is a worker? Answer slowly."


@pytest.fixture
def chat(sign_in: SignIn, demo: Demo) -> "Iterator[Page]":
    """The chat page with an empty conversation."""
    page = connected(sign_in("alice", "/chat"))
    page.click("#clear")
    page.wait_for_function(
        "() => document.querySelector('#exchanges').children.length === 0"
    )
    yield page
    stop_all(demo)


def stop_all(demo: Demo) -> None:
    """Stop the answers that a test has left, which the next one would see."""
    cookie = demo.cookie("alice")
    html = demo.request("GET", "/chat", Cookie=cookie)[1].decode()
    running = re.search('id="running">(.*?)</script>', html)
    assert running is not None
    for asked in json.loads(running[1]):
        path = f"/api/chat/answers/{asked['id']}/stop"
        assert demo.request("POST", path, Cookie=cookie)[0] in (204, 404)


def ask(page: "Page", question: str) -> None:
    """Ask a question by keyboard."""
    page.focus("#message")
    page.keyboard.type(question)
    page.keyboard.press("Enter")


def begun(page: "Page") -> None:
    """Wait until an answer has begun."""
    page.wait_for_function(
        "() => document.querySelector('#exchanges .answer .text')?.textContent"
    )


def ended(page: "Page", state: str) -> str:
    """Wait until the last answer has ended in this state; return its text."""
    page.locator(f"#exchanges li:last-child[data-state={state}]").wait_for()
    return page.locator(ANSWERS).last.inner_text()


def answer_with(page: "Page", text: str, end: str) -> None:
    """Answer the next questions in place of the server."""
    page.route(
        "**/api/chat/answers",
        lambda route: route.fulfill(status=201, json={"id": "one"}),
    )
    events = [
        'event: answer\nid: a:0\ndata: {"id": "one"}',
        f"id: a:1\ndata: {text}",
        f"id: end-0\nevent: {end}",
    ]
    page.route(
        "**/api/chat/answers/one",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body="".join(f"{event}\n\n" for event in events),
        ),
    )


def test_an_answer_grows_and_is_in_all_tabs_and_after_a_reload(chat: "Page") -> None:
    """Each tab shows it once. It is read out when complete, not word by word."""
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
    # The hub's event reaches this tab too.
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


def test_an_answer_goes_on_after_a_reload_and_stops_in_all_tabs(chat: "Page") -> None:
    """All tabs show the same text, and any of them stops it."""
    ask(chat, LONG)
    begun(chat)
    shown = chat.locator(ANSWERS).inner_text()
    chat.reload()
    begun(chat)
    assert chat.locator(ANSWERS).inner_text().startswith(shown)
    assert chat.locator("#exchanges .question").inner_text().endswith(LONG)
    tab = chat.context.new_page()
    tab.goto(chat.url)
    begun(tab)
    tab.click("#stop")
    for page in (chat, tab):
        page.locator("#exchanges li[data-kept][data-state=stopped]").wait_for()
    assert ended(chat, "stopped") == ended(tab, "stopped")


def test_an_answer_whose_worker_is_killed_is_lost(chat: "Page") -> None:
    """The page says so, and nothing of it is kept."""
    answer_with(chat, "so far", 'error\ndata: {"id": "end-0", "reason": "lost"}')
    ask(chat, "What is a worker?")
    assert ended(chat, "lost") == "so far"
    expect(chat, "#problem", "The server process that made this answer is gone.")
    chat.reload()
    assert chat.locator("#exchanges li").count() == 0


def test_a_stopped_answer_stays(chat: "Page") -> None:
    """It can be stopped by keyboard, and is still there after a reload."""
    ask(chat, LONG)
    begun(chat)
    chat.keyboard.press("Tab")
    assert chat.evaluate("document.activeElement.id") == "stop"
    chat.keyboard.press("Enter")
    shown = ended(chat, "stopped")
    # The button is hidden, and the focus is where the user continues.
    assert chat.evaluate("document.activeElement.id") == "message"
    chat.reload()
    assert ended(chat, "stopped").startswith(shown)
    expect(chat, "#exchanges .note", "Stopped here.")


def test_a_question_that_is_stopped_at_once_can_be_corrected(chat: "Page") -> None:
    """It is not kept, and is back in the text box."""
    chat.route("**/api/chat/answers", lambda route: None)
    ask(chat, "What is a porxy?")
    chat.click("#stop")
    chat.wait_for_function(
        "() => document.querySelector('#exchanges').children.length === 0"
    )
    assert chat.input_value("#message") == "What is a porxy?"
    assert chat.is_enabled("#send")


def test_a_double_click_is_one_click(chat: "Page") -> None:
    """Send and Stop have the same place; the second click must not press the other."""
    asked: list[str] = []
    chat.on("request", lambda request: asked.append(request.url))
    chat.route("**/api/chat/answers", lambda route: None)
    chat.fill("#message", "What is a client?")
    chat.dblclick("#send")
    assert chat.locator("#exchanges li").count() == 1
    chat.dblclick("#stop")
    expect(chat, "#said", "Stopped.")
    assert len([url for url in asked if url.endswith("/api/chat/answers")]) == 1


def test_an_answer_continues_when_a_program_clears(chat: "Page", demo: Demo) -> None:
    """The exchanges before it are removed. The pages wait for the answer."""
    tab = chat.context.new_page()
    tab.goto(chat.url)
    connected(tab)
    ask(chat, "Please fail")
    ended(chat, "failed")
    ask(chat, LONG)
    tab.locator("#exchanges li[data-state=answering]").wait_for()
    demo.request("DELETE", "/api/chat/messages", Cookie=demo.cookie("alice"))
    chat.locator("#exchanges li[data-state=failed]").wait_for(state="detached")
    assert chat.locator("#exchanges li[data-state=answering]").count() == 1


def test_a_list_that_was_scrolled_up_stays_there(chat: "Page", demo: Demo) -> None:
    """Questions of other tabs do not scroll it; the user's own question does."""
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


def test_conversations_of_programs_are_not_on_the_page(
    chat: "Page", demo: Demo
) -> None:
    """The page shows the conversation without an id."""
    cookie = {"Cookie": demo.cookie("alice"), "Content-Type": "application/json"}
    ask(chat, "What is a proxy?")
    chat.locator("#exchanges li[data-kept]").wait_for()
    for more in ({"conversationId": 7}, {}):
        body = json.dumps({"message": "What is a stream?", **more})
        demo.request("POST", "/api/chat/stream", body, **cookie)
    demo.request("DELETE", "/api/chat/messages?conversationId=7", **cookie)
    chat.locator("#exchanges li[data-kept]").nth(1).wait_for()
    assert chat.locator("#exchanges li[data-kept]").count() == 2


def test_an_answer_that_a_proxy_buffers_is_shown_once(chat: "Page", demo: Demo) -> None:
    """The hub's events arrive before the answer to the request."""

    def collect(route: Any) -> None:
        answer = route.fetch()
        kept = f"{demo.url}/api/chat/messages"
        wait_until(lambda: chat.request.get(kept).json()["exchanges"])
        route.fulfill(response=answer)

    chat.route("**/api/chat/answers", collect)
    ask(chat, "What is a proxy?")
    chat.locator("#said", has_text="Answer: ").wait_for()
    assert chat.locator("#exchanges li").count() == 1


def test_enter_that_ends_a_composition_sends_nothing(chat: "Page") -> None:
    """Enter may choose a Japanese word. Browsers report this in two ways."""
    chat.fill("#message", "こんにちは")
    for sign in ({"isComposing": True}, {"keyCode": 229}):
        chat.dispatch_event("#message", "keydown", {"key": "Enter", **sign})
        assert chat.locator("#exchanges li").count() == 0
    chat.press("#message", "Enter")
    assert chat.locator("#exchanges li").count() == 1


def test_an_error_is_shown_with_its_id_in_the_log(chat: "Page", demo: Demo) -> None:
    """A button tries again, and the new answer takes the place of the failed one."""
    ask(chat, "Please fail now")
    ended(chat, "failed")
    end_id = chat.locator("#problem code").inner_text()
    assert end_id.startswith("end-")
    assert end_id in demo.log_path.read_text()
    answer_with(chat, "better", 'done\ndata: {"id": "end-0"}')
    chat.click("#problem button")
    assert ended(chat, "complete") == "better"
    assert chat.locator("#exchanges li").count() == 1
    assert chat.locator("#problem").inner_text() == ""


def test_each_kind_of_failure_is_explained(chat: "Page") -> None:
    """The page shows it in words, and the question is not lost."""
    ways: list[tuple[dict[str, Any] | None, str]] = [
        (None, "The server could not be reached."),
        ({"status": 401}, "You are not signed in any more."),
        ({"status": 400, "json": {"error": "message is odd"}}, "message is odd"),
        ({"status": 502, "body": "<html>"}, "The server answered 502."),
    ]
    way: dict[str, Any] | None = None
    chat.route(
        "**/api/chat/answers",
        lambda route: route.fulfill(**way) if way else route.abort(),
    )
    for count, (each, told) in enumerate(ways, 1):
        way = each
        ask(chat, "hello")
        expect(chat, "#problem", told)
        assert chat.locator("#problem button").is_visible()
        assert chat.locator("#exchanges li[data-state=failed]").count() == count


def test_a_conversation_that_cannot_be_cleared_stays(chat: "Page") -> None:
    """The page shows the reason until the conversation is cleared."""
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


def test_a_logout_in_another_tab_ends_the_reading(chat: "Page") -> None:
    """The page shows no more of it."""
    ask(chat, LONG)
    begun(chat)
    tab = chat.context.new_page()
    tab.goto(chat.url)
    tab.click("#sign-out")
    ended(chat, "left")
    expect(chat, "#session", "You signed out")


def test_no_question_is_sent_in_the_name_of_another_user(chat: "Page") -> None:
    """After a login of another user in another tab, the written text stays unsent."""
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


def test_a_conversation_is_loaded_again_after_lost_history(
    chat: "Page", demo: Demo
) -> None:
    """The page may have missed questions of other tabs."""
    kept = [{"id": "1", "question": "q", "answer": "a", "stopped": False}]
    chat.route(
        "**/api/chat/messages",
        lambda route: route.fulfill(json={"exchanges": kept}),
    )
    demo.lose_history()
    expect(chat, "#exchanges .question", "q")
    assert ended(chat, "complete") == "a"


def test_each_line_has_the_direction_of_its_text(chat: "Page") -> None:
    """A short line from right to left is aligned to the right of a long line."""
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


def test_a_question_is_shown_as_it_was_written(chat: "Page") -> None:
    """Line breaks and markup are kept as text. Shift and Enter begin a new line."""
    chat.focus("#message")
    assert chat.is_disabled("#send")
    chat.keyboard.type("<b>one</b>")
    chat.keyboard.press("Shift+Enter")
    chat.keyboard.type("two")
    chat.click("#send")
    question = chat.locator("#exchanges .question .text")
    assert question.text_content() == "<b>one</b>\ntwo"
    ended(chat, "complete")
