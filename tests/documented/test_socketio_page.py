"""The migration from Flask-SocketIO: both apps of the page, with both clients.

The page's statements about Flask-SocketIO are tested with Flask-SocketIO itself.
"""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask_socketio
import pytest
from flask import Flask
from flask_login import UserMixin

from flask_sse_hub import Publisher
from tests.conftest import MakeSite, Site
from tests.documented.samples import ROOT, sample
from tests.documented.shell import Shell, flask_run
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "docs/socketio.md"
BEFORE = sample(PAGE, "python", with_="socketio = SocketIO(app)")
AFTER = sample(PAGE, "python", with_="sse_hub = SSEHub(app)")
PAGE_BEFORE = sample(PAGE, "js", with_="io()")
PAGE_AFTER = sample(PAGE, "js", with_='from "sse-hub"')
NATIVE = sample(PAGE, "js", with_="new EventSource")
ROOMS = sample(PAGE, "js", with_="stream.subscribe")
SIGNALS = sample(PAGE, "python", with_="client_connected")
NAMESPACE_BEFORE = sample(PAGE, "python", with_='namespace="/admin"')
NAMESPACE_AFTER = sample(PAGE, "python", with_='channel="admin"')
TASK = sample(PAGE, "python", with_="threading.Thread")
CLOCK = sample(PAGE, "python", with_="# clock.py")
TEST_BEFORE = sample(PAGE, "python", with_="socketio.test_client")
TEST_AFTER = sample(PAGE, "python", with_="sse_stream")

CLIENT = ROOT / "tests/node_modules/socket.io-client/dist/socket.io.min.js"

# The page says that the app leaves this view out.
LOGIN = """
from flask_login import login_user


@app.post("/login/<name>")
def login(name):
    login_user(User(name))
    return "in"


@app.post("/logout")
def logout():
    from flask_login import logout_user

    logout_user()
    return "out"
"""

_TEMPLATE = """
from flask import render_template_string

HEAD = '''{head}'''


@app.get("/")
def page():
    return render_template_string(HEAD)
"""


@pytest.fixture
def before() -> dict[str, Any]:
    """The names of the app with Flask-SocketIO."""
    names: dict[str, Any] = {"__name__": "before"}
    exec(BEFORE + LOGIN, names)  # noqa: S102
    return names


@pytest.fixture
def after() -> Iterator[dict[str, Any]]:
    """The names of the app with the hub, whose log is in memory."""
    names: dict[str, Any] = {"__name__": "after"}
    create = "sse_hub = SSEHub(app)"
    memory = 'app.config["SSE_HUB_BROKER_URL"] = "memory://"\n'
    exec(AFTER.replace(create, memory + create) + LOGIN, names)  # noqa: S102
    yield names
    names["app"].extensions["sse_hub"].close()


@pytest.fixture
def app(after: dict[str, Any]) -> Flask:
    """The app that the fixtures of the test kit use."""
    found: Flask = after["app"]
    return found


def test_the_test_of_the_app_before(before: dict[str, Any]) -> None:
    """It is as it was, with Flask-SocketIO's own client."""
    exec(TEST_BEFORE, before)  # noqa: S102
    before["test_the_team_reads_it"]()


def test_the_test_of_the_app_after(
    after: dict[str, Any], app: Flask, sse_stream: Callable[..., Any]
) -> None:
    """It makes the same statements, with Flask's client."""
    exec(TEST_AFTER, after)  # noqa: S102
    after["test_the_team_reads_it"](app, sse_stream)


def test_both_refuse_strangers_and_other_teams(
    before: dict[str, Any], after: dict[str, Any], sse_stream: Callable[..., Any]
) -> None:
    """A refusal of the hub is a status."""
    stranger = before["socketio"].test_client(before["app"])
    assert not stranger.is_connected()
    browser = before["app"].test_client()
    browser.post("/login/ada")
    ada = before["socketio"].test_client(before["app"], flask_test_client=browser)
    error = {"error": "you are not in this team"}
    assert ada.emit("say", "blue", "hello", callback=True) == error
    browser = after["app"].test_client()
    assert browser.get("/events").status_code == 401
    browser.post("/login/ada")
    answer = browser.post("/say", json={"team": "blue", "text": "x", "client": "x"})
    assert (answer.status_code, answer.get_json()) == (403, error)
    assert sse_stream("/events?channel=team.blue", client=browser).status == 403


def test_only_a_stream_ends_at_the_logout(
    before: dict[str, Any], after: dict[str, Any], sse_stream: Callable[..., Any]
) -> None:
    """The connection of Flask-SocketIO goes on, and receives events."""
    browser = before["app"].test_client()
    browser.post("/login/ada")
    ada = before["socketio"].test_client(before["app"], flask_test_client=browser)
    browser.post("/logout")
    before["socketio"].emit("note", {"text": "still here"})
    assert [event["name"] for event in ada.get_received()] == ["note"]
    browser = after["app"].test_client()
    browser.post("/login/ada")
    stream = sse_stream(client=browser)
    browser.post("/logout")
    stream.rest()
    assert stream.ended


def test_only_the_hub_keeps_events_for_a_client_that_is_away(
    before: dict[str, Any], after: dict[str, Any], sse_stream: Callable[..., Any]
) -> None:
    """It comes back, and has them."""
    browser = before["app"].test_client()
    browser.post("/login/ada")
    ada = before["socketio"].test_client(before["app"], flask_test_client=browser)
    ada.disconnect()
    before["socketio"].emit("note", {"text": "missed"})
    ada.connect()
    assert ada.get_received() == []
    browser = after["app"].test_client()
    browser.post("/login/ada")
    stream = sse_stream(client=browser)
    stream.drop()
    with after["app"].app_context():
        after["sse_hub"].publish({"text": "missed"}, type="note")
    stream.resume()
    assert stream.next(type="note").json() == {"text": "missed"}


def test_the_signals_tell_of_streams(
    after: dict[str, Any],
    sse_stream: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They have the user, the channels and the reason."""
    exec(SIGNALS, after)  # noqa: S102
    browser = after["app"].test_client()
    browser.post("/login/ada")
    with caplog.at_level(logging.INFO):
        sse_stream("/events?channel=team.red", client=browser).close()
        wait_until(lambda: "ada is gone: client_gone" in caplog.text)
    assert re.search(r"ada listens to .*team\.red", caplog.text)


class Admin(UserMixin):  # type: ignore[misc]
    """A user of the section on namespaces."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.is_admin = name == "admin"


def test_a_namespace_is_a_channel_with_types_of_its_own(
    before: dict[str, Any], make_site: MakeSite
) -> None:
    """Events of the namespace and of the channel reach their listeners alone."""
    exec(NAMESPACE_BEFORE, {**before, "emit": flask_socketio.emit})  # noqa: S102
    admin, other = (
        before["socketio"].test_client(before["app"], namespace=namespace)
        for namespace in ("/admin", "/")
    )
    admin.emit("ban", "eve", namespace="/admin")
    (event,) = admin.get_received("/admin")
    assert (event["name"], event["args"]) == ("banned", ["eve"])
    assert not other.is_connected()

    site = _with_admins(make_site)
    stream = site.browser("admin").stream("/events?channel=admin")
    stream.next("connected")
    browser = site.browser("ada")
    assert browser.get("/events?channel=admin").status_code == 403
    assert browser.client.post("/admin/ban/eve").status_code == 403
    assert site.browser("admin").client.post("/admin/ban/eve").status_code == 204
    assert stream.next("admin.banned").data == '{"name": "eve"}'


def _with_admins(make_site: MakeSite) -> Site:
    from flask_login import current_user, login_required

    site = make_site()
    site.app.login_manager.user_loader(Admin)  # type: ignore[attr-defined]
    names = {"app": site.app, "sse_hub": site.hub, "current_user": current_user}
    exec(NAMESPACE_AFTER, names | {"login_required": login_required})  # noqa: S102
    return site


def test_a_background_task_publishes_to_the_user_who_began_it(
    after: dict[str, Any], sse_stream: Callable[..., Any]
) -> None:
    """A thread needs no app context."""
    exec(TASK, after)  # noqa: S102
    browser = after["app"].test_client()
    browser.post("/login/ada")
    stream = sse_stream(client=browser)
    assert browser.post("/reports").status_code == 202
    told = [event.json()["percent"] for event in stream.events(11, type="progress")]
    assert told == list(range(0, 101, 10))


@pytest.mark.live
def test_a_program_replaces_an_endless_task(tmp_path: Path) -> None:
    """It publishes into the app's log, and only connected clients hear of it."""
    (tmp_path / "clock.py").write_text(CLOCK)
    address = f"sqlite:///{tmp_path}/hub.db"
    code = AFTER.replace(
        "sse_hub = SSEHub(app)",
        f'app.config["SSE_HUB_BROKER_URL"] = "{address}"\n'
        'app.config["SSE_HUB_LOGIN_REQUIRED"] = False\nsse_hub = SSEHub(app)',
    )
    Publisher(address, create=True).close()
    with (
        flask_run(tmp_path, code) as shell,
        shell.start("curl -N http://127.0.0.1:5000/events") as stream,
    ):
        stream.wait_for("connected")
        program = Shell(tmp_path, ports={}, SSE_HUB_URL=address)
        with program.start("python clock.py"):
            stream.wait_for("event: tick\n")


@pytest.mark.browser
@pytest.mark.parametrize("script", ["socket.io", "sse-hub"])
def test_a_page_sends_and_receives(
    chromium: "Browser", tmp_path: Path, script: str
) -> None:
    """Two people of a team: the note of one comes to the other, once to each."""
    if not CLIENT.exists():
        absent("socket.io-client", remedy=f"run npm ci in {CLIENT.parents[3]}")
    (tmp_path / "static").mkdir()
    (tmp_path / "static/socket.io.js").write_bytes(CLIENT.read_bytes())
    if script == "socket.io":
        app = (
            BEFORE
            + LOGIN
            + _TEMPLATE.format(head="<script src=/static/socket.io.js></script>")
        )
        code = PAGE_BEFORE
    else:
        app = AFTER + LOGIN + _TEMPLATE.format(head="{{ sse_hub.script() }}")
        code = PAGE_AFTER
    port = free_port()
    with flask_run(tmp_path, app, port=port):
        ada, ben = (_visitor(chromium, port, name) for name in ("ada", "ben"))
        for page in (ada, ben):
            _run(page, code)
        # Either may still be connecting: a note may come too early for ben.
        wait_until(lambda: _said(ada) and _shown(ben))
        assert set(_shown(ada)) == {"hello"}
        if script == "sse-hub":
            _moves(ben)
            _listens_natively(ben)
        for page in (ada, ben):
            page.context.close()


def _visitor(chromium: "Browser", port: int, name: str) -> "Page":
    page = chromium.new_context().new_page()
    page.goto(f"http://{HOST}:{port}/")
    page.evaluate(f"fetch('/login/{name}', {{method: 'POST'}})")
    page.reload()
    return page


def _run(page: "Page", code: str) -> None:
    code += "Object.assign(window, { say, stream: globalThis.stream });"
    code = code.replace("const stream =", "const stream = globalThis.stream =")
    page.add_script_tag(
        content=f"window.shown = []; const show = (text) => shown.push(text);{code}",
        type="module",
    )
    page.wait_for_function("() => !!window.say")


def _said(page: "Page") -> bool:
    """Say hello, and wait for the answer."""
    before = len(_shown(page))
    page.evaluate("() => { say('hello'); }")
    page.wait_for_function("(before) => shown.length > before", arg=before)
    return True


def _shown(page: "Page") -> list[str]:
    found: list[str] = page.evaluate("shown")
    return found


def _moves(page: "Page") -> None:
    """Change the channels of the stream; the app's rule refuses the blue team."""
    subscribe, unsubscribe = ROOMS.splitlines()
    refused = f"async () => {{ try {{ {subscribe} }} catch (e) {{ return e.status }} }}"
    assert page.evaluate(refused) == 403
    page.evaluate(f"async () => {{ {unsubscribe} }}")


def _listens_natively(page: "Page") -> None:
    """Receive a note by the browser's own client."""
    page.evaluate(
        "() => { window.notes = []; const show = (text) => notes.push(text);"
        f"{NATIVE} window.source = source; }}"
    )
    page.wait_for_function("source.readyState === 1")
    page.evaluate("say('natively')")
    page.wait_for_function("notes.includes('natively')")
