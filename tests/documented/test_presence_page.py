"""The page about presence: its app answers, and its script follows the events."""

import json
import subprocess
from typing import Any

from flask_login import login_required

from flask_sse_hub import user_left
from tests.conftest import MakeSite
from tests.documented.samples import ROOT, sample
from tests.kit.reader import wait_until

APP = sample("docs/presence.md", "python")
SCRIPT = sample("docs/presence.md", "js")

_ROOM = """
const shown = [];
const render = (people) => shown.push(people.map(({ user }) => user));
const handlers = {};
const connect = () => ({
  state: "connecting",
  sharing: { role: "alone" },
  on: (type, handler) => { handlers[type] = handler; },
});
"""
_EVENTS = """
const ann = { user: "ann", since: 1, data: {} };
handlers.connected({ presence: { "room.7": { people: [ann], anonymous: 0 } } });
const bob = { type: "join", channel: "room.7", user: "bob", since: 2, data: {} };
handlers.presence(bob);
handlers.presence({ type: "leave", channel: "room.7", user: "ann", since: 1 });
console.log(JSON.stringify(shown));
"""


def test_the_app_lists_the_people(make_site: MakeSite) -> None:
    """And it notes the last visit of a person who left."""
    site = make_site(
        presence=["room.*"], public_channels=["room.*"], presence_grace=0.1
    )
    seen: list[str] = []
    names: dict[str, Any] = {
        "app": site.app,
        "sse_hub": site.hub,
        "login_required": login_required,
        "user_left": user_left,
        "note_last_seen": seen.append,
    }
    # The names of the site's users are their ids.
    exec(APP.replace("user.name", "user.get_id()"), names)  # noqa: S102
    browser = site.browser("ann")
    stream = browser.stream("/events?channel=room.7")
    assert json.loads(stream.next("presence").data)["data"] == {"name": "ann"}
    found = browser.get("/rooms/7/people").json
    assert found == [{"id": "ann", "name": "ann", "tabs": 1}]
    stream.close()
    wait_until(lambda: seen == ["ann"])


def test_the_script_follows_the_events() -> None:
    """The page shows the people after each change."""
    code = SCRIPT.replace('import { connect } from "sse-hub";\n', _ROOM)
    module = "./flask_sse_hub/static/sse-hub-presence.js"
    code = code.replace('"sse-hub/presence"', f'"{module}"') + _EVENTS
    command = ["node", "--input-type=module", "-e", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert json.loads(done.stdout) == [["ann"], ["ann", "bob"], ["bob"]]
