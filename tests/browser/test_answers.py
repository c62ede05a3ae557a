"""Answers and presence in a real Chromium, by the samples of the documentation.

One server and one visitor's browser serve all tests. The words of the model come when a
test says so.
"""

import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, render_template_string, send_file
from flask_login import UserMixin, login_user

from tests.browser.front_end import install, run
from tests.documented.chat import served
from tests.documented.samples import sample
from tests.kit.reader import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

SERVER = sample("docs/answers.md", "python", with_="answer.response()")
HTML = sample("docs/answers.md", "html")
SCRIPT = sample("docs/answers.md", "js")
REACT = sample("docs/browser.md", "jsx", with_="useAnswer")
ITERATE = sample("docs/browser.md", "js", with_="readEvents(await")
JOB = sample("docs/jobs.md", "python", with_="def load_all")
JOB_PAGE = sample("docs/jobs.md", "html")
PRESENCE = sample("docs/presence.md", "js", with_="render([")
REACT_PRESENCE = sample("docs/presence.md", "jsx")

SETTINGS = """
app.config.update(SSE_HUB_PRESENCE=["room.*"], SSE_HUB_PUBLIC_CHANNELS=["room.*"])
"""
HEAD = "<!doctype html><html><head>{{ sse_hub.script() }}</head><body>"
READ = "\nwindow.read = (id) => answer(`/answers/${id}`, options).id;"
PEOPLE = """
window.render = (people) => {
  document.title = people.map(({ user }) => user).join();
};
"""
MAIN = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
const Shown = location.search === "?people" ? People : Chat;
createRoot(document.getElementById("root")).render(<StrictMode><Shown /></StrictMode>);
"""


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


class Model:
    """A model that waits for its words."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._words: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def complete(self, question: str) -> Iterator[str]:
        self.asked.append(question)
        return iter(self._words.get, None)

    def say(self, *words: str | None) -> None:
        """Yield words; None ends the answer."""
        for word in words:
            self._words.put(word)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model()
    yield model
    # A thread may still wait.
    model.say(None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the React app, which is built."""
    folder = tmp_path_factory.mktemp("answers") / "app"
    folder.mkdir()
    install(folder)
    (folder / "main.jsx").write_text(REACT + REACT_PRESENCE + MAIN)
    options = ["--bundle", "--jsx=automatic", "--format=esm", "--outdir=built"]
    run("../node_modules/.bin/esbuild", "main.jsx", *options, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def url(model: Model, folder: Path) -> Iterator[str]:
    """The URL of the sample's app, with pages for the other samples."""
    module = ModuleType("language_model")
    module.complete = model.complete  # type: ignore[attr-defined]
    names: dict[str, Any] = {"__name__": "sample"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "language_model", module)
        exec(SERVER.replace("sse_hub = ", f"{SETTINGS}\nsse_hub = "), names)  # noqa: S102
    # Each row of the job is a word of the model.
    exec(JOB, names | {"save": lambda _: next(model.complete("row"))})  # noqa: S102
    app: Flask = names["app"]
    app.instance_path = str(folder)
    names["login_manager"].user_loader(User)
    pages = {
        "/": f'{HTML}<script type="module">{SCRIPT}{READ}</script>',
        "/react": '<div id="root"></div><script type="module" src="/main.js"></script>',
        "/room": f"<script>{PEOPLE}</script><script type=module>{PRESENCE}</script>",
    }
    shared = 'presence=1", { shared: true, userId: "alice" }'
    pages["/shared"] = pages["/room"].replace('presence=1"', shared)
    for path, body in pages.items():

        def page(body: str = body) -> str:
            return render_template_string(HEAD) + body

        app.add_url_rule(path, path, page)
    app.add_url_rule("/main.js", "main", lambda: send_file(folder / "built/main.js"))

    @app.get("/job/<job_id>")
    def job(job_id: str) -> str:
        return render_template_string(HEAD + JOB_PAGE, job_id=job_id)

    @app.post("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return name

    with served(app) as url:
        yield url
    app.extensions["sse_hub"].close()


@pytest.fixture
def context(chromium: "Browser", url: str) -> Iterator["BrowserContext"]:
    """The browser of alice, in which no page may have an error."""
    context = chromium.new_context(base_url=url)
    context.set_default_timeout(DEADLINE * 1000)
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.request.post("/login/alice")
    yield context
    context.close()
    assert not problems


def ask(page: "Page", question: str) -> None:
    page.fill("[name=question]", question)
    page.click("text=Ask")


def wait_for_text(page: "Page", text: str) -> None:
    wanted = "text => document.querySelector('p')?.textContent === text"
    page.wait_for_function(wanted, arg=text)


def wait_for_state(page: "Page", state: str) -> None:
    page.wait_for_selector(f"p[data-state={state}]", state="attached")


def test_an_answer_goes_on_after_a_reload_and_in_a_second_tab(
    context: "BrowserContext", model: Model
) -> None:
    """No word is missing or doubled, and stop ends it for both."""
    page = context.new_page()
    page.goto("/")
    ask(page, "tea?")
    model.say("Tea ", "is ")
    wait_for_text(page, "Tea is ")
    page.reload()
    wait_for_text(page, "Tea is ")
    model.say("good")
    wait_for_text(page, "Tea is good")
    second = context.new_page()
    second.goto("/")
    answer_id = page.evaluate("sessionStorage.getItem('sse-hub-answer:chat')")
    second.evaluate("id => { read(id); }", answer_id)
    wait_for_text(second, "Tea is good")
    model.say(".")
    for each in (page, second):
        wait_for_text(each, "Tea is good.")
    page.click("text=Stop")
    for each in (page, second):
        wait_for_state(each, "stopped")
    assert model.asked == ["tea?"]
    # The thread that waits for a word ends with it.
    model.say("")
    page.reload()
    wait_for_text(page, "")


def test_a_component_goes_on_after_a_reload(
    context: "BrowserContext", model: Model
) -> None:
    """It asks once under StrictMode."""
    model.asked.clear()
    page = context.new_page()
    page.goto("/react")
    wait_for_state(page, "idle")
    ask(page, "coffee?")
    model.say("Coffee ")
    wait_for_text(page, "Coffee ")
    page.reload()
    wait_for_text(page, "Coffee ")
    model.say("too", None)
    wait_for_text(page, "Coffee too")
    wait_for_state(page, "done")
    assert model.asked == ["coffee?"]


def test_a_map_follows_the_people(
    context: "BrowserContext", chromium: "Browser", url: str
) -> None:
    """Also that of a tab that shares a stream, although the stream is older."""
    pages = [context.new_page() for _ in range(4)]
    alone, component, first, second = pages
    alone.goto("/room")
    component.goto("/react?people")
    first.goto("/shared")
    shown = (
        "[...document.querySelectorAll('li')].map((each) => each.textContent).join()"
    )
    for page in (alone, first):
        page.wait_for_function("document.title === 'alice'")
    component.wait_for_function(f"{shown} === 'alice'")
    other = chromium.new_context(base_url=url)
    other.request.post("/login/bob")
    other.new_page().goto("/room")
    for page in (alone, first):
        page.wait_for_function("document.title === 'alice,bob'")
    component.wait_for_function(f"{shown} === 'alice,bob'")
    second.goto("/shared")
    second.wait_for_function("document.title === 'alice,bob'")
    other.close()


def test_the_events_of_a_response_are_iterated(context: "BrowserContext") -> None:
    """The response comes from fetch."""
    page = context.new_page()
    page.goto("/")
    body = "event: step\ndata: {}\n\ndata: last\n\n"
    page.route(
        "/import",
        lambda route: route.fulfill(body=body, content_type="text/event-stream"),
    )
    with page.expect_console_message(lambda message: "last" in message.text):
        page.add_script_tag(type="module", content=ITERATE)


def test_a_job_is_watched_in_each_tab_and_cancelled_for_all(
    context: "BrowserContext", model: Model
) -> None:
    """Its bar is there again after a reload."""
    rows = {"rows": list(range(300))}
    job_id = context.request.post("/jobs", data=rows).json()["id"]
    page, tab = context.new_page(), context.new_page()
    page.goto(f"/job/{job_id}")
    model.say(*["saved"] * 100)
    third = "() => document.querySelector('progress').position > 0.3"
    page.wait_for_function(third)
    page.reload()
    tab.goto(f"/job/{job_id}")
    for each in (page, tab):
        each.wait_for_function(third)
    tab.click("#cancel")
    for each in (page, tab):
        wait_for_state(each, "stopped")
    # The thread that waits for a word has heard of the stop.
    model.say("saved")
