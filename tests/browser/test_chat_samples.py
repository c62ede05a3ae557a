"""The samples for pages in docs/chat.md, in a real Chromium."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.documented.chat import (
    BY_GET,
    BY_POST,
    PAGE,
    WORDS,
    Endpoint,
    model,
    run,
    served,
)
from tests.documented.samples import sample
from tests.kit.reader import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TEXT = "".join(WORDS)

POST = (BY_POST, sample(PAGE, "js", with_="fetch("))
GET = (BY_GET, sample(PAGE, "js", with_="new EventSource"))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with model(monkeypatch) as endpoint:
        yield endpoint


@pytest.fixture
def page(
    request: pytest.FixtureRequest, endpoint: Endpoint, chromium: "Browser"
) -> Iterator["Page"]:
    """A page with one of the samples, served by the app that answers it."""
    server, client = request.param
    app = run(server)["app"]
    app.add_url_rule("/", view_func=lambda: "<!doctype html>")
    with served(app) as url:
        page = chromium.new_page()
        page.set_default_timeout(DEADLINE * 1000)
        page.goto(url)
        page.add_script_tag(content=client)
        yield page
        page.close()


# Asks a question, and records the data that the sample shows.
BY_FETCH = """async ([message, stops]) => {
  const controller = new AbortController();
  const shown = [];
  const show = (data) => {
    shown.push(data);
    if (stops) controller.abort();
  };
  try {
    await ask(message, show, controller.signal);
    return { shown };
  } catch (error) {
    return { shown, error: error.name, message: error.message };
  }
}"""

BY_EVENT_SOURCE = """([message, stops]) => new Promise((resolve) => {
  const shown = [];
  const stop = ask(message, {
    onMetadata: (data) => shown.push(data),
    onToken: (text) => {
      shown.push(text);
      if (!stops) return;
      stop();
      resolve({ shown });
    },
    onDone: () => resolve({ shown, done: true }),
    onError: (id) => resolve({ shown, error: id }),
  });
})"""


@pytest.mark.parametrize("page", [POST], indirect=True)
def test_fetch_shows_the_text_so_far(page: "Page", endpoint: Endpoint) -> None:
    """An error comes with its id, and stopping ends the model's call."""
    shown = page.evaluate(BY_FETCH, ["hello", False])["shown"]
    assert shown[-1] == {"content": TEXT, "done": True}
    failed = page.evaluate(BY_FETCH, ["fail", False])
    assert failed["message"].startswith("It failed: end-")
    endpoint.ended.clear()
    stopped: dict[str, Any] = page.evaluate(BY_FETCH, ["for ever", True])
    assert stopped["error"] == "AbortError"
    assert endpoint.ended.wait(DEADLINE)


@pytest.mark.parametrize("page", [GET], indirect=True)
def test_an_event_source_shows_each_token(page: "Page", endpoint: Endpoint) -> None:
    """It asks once, an error comes with its id, and stopping ends the model's call."""
    answer = page.evaluate(BY_EVENT_SOURCE, ["hello", False])
    assert answer == {"shown": [{"model": "mine"}, *WORDS], "done": True}
    assert page.evaluate(BY_EVENT_SOURCE, ["fail", False])["error"].startswith("end-")
    endpoint.ended.clear()
    page.evaluate(BY_EVENT_SOURCE, ["for ever", True])
    assert endpoint.ended.wait(DEADLINE)
    assert len(endpoint.asked) == 3
