"""The example app, without a server."""

import html
import re
import shlex
from pathlib import Path

from flask import url_for

from example_app.extensions import sse_hub
from example_app.lobby import LOBBY
from example_app.sources import FILES
from flask_sse_hub.testing import Stream
from tests.conftest import DemoApp

URL = f"/events?channel={LOBBY}&presence=1"


def people(demo_app: DemoApp) -> list[str]:
    with demo_app.app.app_context():
        return [each.user for each in sse_hub.present(LOBBY)]


def test_a_user_who_reconnects_before_the_old_stream_ends_is_present(
    demo_app: DemoApp,
) -> None:
    """A dead connection is noticed late, when its client has already reconnected."""
    browser = demo_app.browser("alice")
    dead = Stream(URL, client=browser)
    client_id = dead.next("connected").json()["client_id"]
    came = dead.next("presence").json()
    assert (came["user"], came["data"]) == ("alice", {"initials": "A"})
    with Stream(f"{URL}&client_id={client_id}", client=browser) as back:
        assert back.next("connected").json()["client_id"] == client_id
        dead.close()
        assert people(demo_app) == ["alice"]


def test_typing_reaches_the_others_and_is_not_kept(demo_app: DemoApp) -> None:
    """The typist's own tabs do not receive it. A stranger cannot type."""
    alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
    with Stream(URL, client=alice) as own, Stream(URL, client=bob) as watching:
        client_id = own.next("connected").json()["client_id"]
        greeting = watching.next("connected")
        answer = alice.post("/api/lobby/typing", json={"clientId": client_id})
        assert answer.status_code == 204
        assert watching.next("typing").json() == {"user": "alice"}
    with Stream(URL, client=bob, last_event_id=greeting.id) as back:
        bob.post("/trigger", json={"type": "end", "data": 1})
        assert back.next(("typing", "end")).type == "end"
    stranger = demo_app.app.test_client()
    assert stranger.post("/api/lobby/typing", json={}).status_code == 401


def test_each_page_links_to_its_source_and_its_guide(demo_app: DemoApp) -> None:
    """The listed files can be read, and no others."""
    browser = demo_app.browser("alice")
    for endpoint, files in FILES.items():
        with demo_app.app.test_request_context():
            page = browser.get(url_for(endpoint)).text
        for name in files:
            assert f'href="/source/{name}"' in page
            answer = browser.get(f"/source/{name}")
            assert (answer.status_code, answer.mimetype) == (200, "text/plain")
            answer.close()
    for closed in ("example_app/users.py", "setup.cfg", "../secrets"):
        assert browser.get(f"/source/{closed}").status_code == 404


def test_the_demo_has_the_logo_of_the_project() -> None:
    """The app is packaged without the documentation, so it has a copy."""
    root = Path(__file__).parents[2]
    logo = root.joinpath("docs/assets/icon.svg").read_bytes()
    assert root.joinpath("example_app/static/icon.svg").read_bytes() == logo


def test_the_webhook_of_the_demo_can_be_copied(demo_app: DemoApp) -> None:
    """The signed command notifies the visitor; with a real secret there is none."""
    browser = demo_app.browser("bob")
    assert "data-copy" not in browser.get("/").text
    demo_app.app.config["DEMO"] = True
    found = re.search(r'data-copy="([^"]*)"', browser.get("/").text)
    assert found is not None
    curl, url, *options = shlex.split(html.unescape(found[1]))
    assert curl == "curl"
    headers = [value.split(": ") for flag, value in pairs(options) if flag == "-H"]
    (body,) = (value for flag, value in pairs(options) if flag == "-d")
    with Stream(URL, client=browser) as stream:
        answer = demo_app.app.test_client().post(url, headers=headers, data=body)
        assert answer.status_code == 202
        assert "is paid" in stream.next("notification").json()["text"]


def pairs(options: list[str]) -> list[tuple[str, str]]:
    return list(zip(options[::2], options[1::2], strict=True))
