"""The page about presence: its apps, its hooks, and its scripts."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, Response
from flask_login import current_user, login_required
from werkzeug.serving import make_server

from flask_sse_hub import user_left
from flask_sse_hub.hub.hooks.records import Hook
from flask_sse_hub.web.config import Config
from flask_sse_hub.web.hooks import body_of
from tests.conftest import MakeSite, Site
from tests.documented.samples import ROOT, sample
from tests.kit.ports import HOST
from tests.kit.reader import wait_until

PAGE = "docs/presence.md"
APP = sample(PAGE, "python", with_='app.config["SSE_HUB_PRESENCE"] = ["room.*"]')
HOOKS = sample(PAGE, "python", with_="SSE_HUB_PRESENCE_HOOKS")
RECEIVER = sample(PAGE, "python", with_="@webhook")
BODY = sample(PAGE, "json")
ONLINE = sample(PAGE, "python", with_="initials")
SEEN = sample(PAGE, "python", with_="last_seen(user)}")
VIEWING = sample(PAGE, "python", with_="page.html")
SCRIPT = sample(PAGE, "js", with_="render([")
ONLINE_SCRIPT = sample(PAGE, "js", with_="initials")
VIEWING_SCRIPT = sample(PAGE, "js", with_="Also here")

SECRET = "whsec_" + base64.b64encode(b"a secret of the documentation").decode()

_ROOM = """
import { EventStream } from "./flask_sse_hub/static/sse-hub.js";
const shown = [];
const render = (people) => shown.push(people.map(({ user }) => user));
const handlers = {};
const connect = (url) => ({
  url,
  state: "connecting",
  sharing: { role: "alone" },
  on: (type, handler) => { handlers[type] = handler; },
  presence: EventStream.prototype.presence,
});
const note = { set textContent(text) { shown.push(text); } };
const list = { replaceChildren: (...items) => shown.push(items) };
const document = {
  body: { dataset: { channel: "CHANNEL", user: "ann" } },
  createElement: (tag) => ({ tag, dataset: {} }),
};
"""
_EVENTS = """
const channel_ = "CHANNEL";
const ann = { user: "ann", since: 1, data: { name: "Ann", initials: "A" } };
handlers.connected({ presence: { [channel_]: { people: [ann], anonymous: 0 } } });
const bob = { ...ann, type: "join", channel: channel_, user: "bob", since: 2 };
handlers.presence(bob);
handlers.presence({ type: "leave", channel: channel_, user: "ann", since: 1 });
console.log(JSON.stringify(shown));
"""


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(
        presence=["room.*"], public_channels=["room.*"], presence_grace=0.1
    )


def run(code: str, site: Site, **names: Any) -> None:
    """Run a sample in the site's app. The names of the site's users are their ids."""
    known: dict[str, Any] = {
        "app": site.app,
        "sse_hub": site.hub,
        "login_required": login_required,
    }
    exec(code.replace("user.name", "user.get_id()"), known | names)  # noqa: S102


def play(script: str, channel: str) -> Any:
    """Run a script with a stream that a person comes to, and leaves."""
    code = script.replace('import { connect } from "sse-hub";\n', _ROOM) + _EVENTS
    command = [
        *("node", "--input-type=module", "-e"),
        code.replace("CHANNEL", channel),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def test_the_app_lists_the_people(site: Site) -> None:
    """Each one with the description."""
    run(APP, site)
    browser = site.browser("ann")
    stream = browser.stream("/events?channel=room.7")
    assert json.loads(stream.next("presence").data)["data"] == {"name": "ann"}
    found = browser.get("/rooms/7/people").json
    assert found == [{"id": "ann", "name": "ann", "tabs": 1}]


def test_the_script_follows_the_events() -> None:
    """The page shows the people after each change."""
    assert play(SCRIPT, "room.7") == [["ann"], ["ann", "bob"], ["bob"]]


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on a port of its own, as long as the block lasts."""
    server = make_server(HOST, 0, app, threaded=True)
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_hook_is_delivered_to_the_receiver_of_the_page(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It verifies the signature by the package, and learns of the departure."""
    monkeypatch.setenv("PRESENCE_SECRET", SECRET)
    probe = Flask("settings")
    probe.config["SSE_HUB_PRESENCE"] = ["room.*"]
    exec(HOOKS, {"app": probe, "os": os})  # noqa: S102
    assert Config.read(probe.config).presence_hooks
    seen: list[tuple[str, str]] = []
    statuses: list[int] = []
    receiver = Flask("receiver")

    @receiver.after_request
    def note(answer: Response) -> Response:
        statuses.append(answer.status_code)
        return answer

    names = {"app": receiver, "os": os, "note_last_seen": lambda *of: seen.append(of)}
    exec(RECEIVER, names)  # noqa: S102
    before = datetime.now(UTC)
    with served(receiver) as url:
        site = make_site(
            presence=["room.*"],
            public_channels=["room.*"],
            presence_grace=0.1,
            presence_hooks=[f"{url}/hooks/presence"],
            presence_hook_secrets=["whsec_" + "abcd" * 8, SECRET],
        )
        stream = site.browser("ann").stream("/events?channel=room.7")
        stream.next("presence")
        stream.close()
        wait_until(lambda: len(seen) == 1)
        wait_until(lambda: len(statuses) == 4)
        site.close()
    ((user, time),) = seen
    assert user == "ann"
    assert before <= datetime.fromisoformat(time) <= datetime.now(UTC)
    assert statuses == [204] * 4


def test_the_body_of_a_hook_is_as_shown() -> None:
    """The same fields in the same form."""
    shown = json.loads(BODY)
    time = datetime.fromisoformat(shown["timestamp"]).timestamp()
    hook = Hook(shown["type"], shown["data"]["user"], time, "https://app.example/")
    assert json.loads(body_of(hook)) == shown


def test_who_is_online(make_site: MakeSite) -> None:
    """The lobby has the people of all pages, with their initials."""
    site = make_site(presence=["lobby"], public_channels=["lobby"])
    run(ONLINE, site)
    stream = site.browser("ann").stream("/events?channel=lobby&presence=1")
    came = json.loads(stream.next("presence").data)
    assert came["data"] == {"name": "ann", "initials": "A"}
    assert site.app.config["SSE_HUB_PRESENCE"] == ["lobby"]
    shown = play(ONLINE_SCRIPT, "lobby")
    item = {"tag": "li", "dataset": {"initials": "A"}, "textContent": "Ann"}
    assert shown == [[item], [item, item], [item]]


def test_last_seen(site: Site) -> None:
    """The time of a departure is the time last seen; a present user is seen now."""
    seen: dict[str, datetime] = {}
    run(
        SEEN,
        site,
        user_left=user_left,
        datetime=datetime,
        UTC=UTC,
        note_last_seen=seen.__setitem__,
        last_seen=seen.get,
    )
    browser = site.browser("bob")
    stream = site.browser("ann").stream("/events?channel=room.7")
    stream.next("presence")
    assert browser.get("/users/ann/seen").json == {"online": True}
    stream.close()
    wait_until(lambda: "ann" in seen)
    found = browser.get("/users/ann/seen").json
    assert not found["online"]
    assert found["last"]


def test_viewing_this_page(make_site: MakeSite) -> None:
    """The readers of a page see each other, and nobody else does."""
    site = make_site(presence=["page.*"])
    run(
        VIEWING,
        site,
        may_read=lambda user, number: user.get_id() != "eve" or number == "8",
        render_template=lambda _, channel: f"{channel} {current_user.get_id()}",
    )
    ann, eve = site.browser("ann"), site.browser("eve")
    assert ann.get("/pages/7").text == "page.7 ann"
    stream = ann.stream("/events?channel=page.7&presence=1")
    assert json.loads(stream.next("presence").data)["user"] == "ann"
    assert eve.get("/events?channel=page.7&presence=1").status_code == 403
    shown = play(VIEWING_SCRIPT, "page.7")
    assert shown == ["", "Also here: bob", "Also here: bob"]
