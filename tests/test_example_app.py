"""The example app, without a server."""

import json

from example_app import presence
from tests.conftest import DemoApp


def test_who_is_back_before_the_old_stream_has_ended_is_there(
    demo_app: DemoApp,
) -> None:
    """A connection that died is noticed late, and its client has another by then."""
    browser = demo_app.browser("alice")
    dead = demo_app.read(browser.get("/events?channel=lobby"))
    client_id = json.loads(dead.next("connected").data)["client_id"]
    url = f"/events?channel=lobby&client_id={client_id}"
    back = demo_app.read(browser.get(url))
    assert client_id in back.next("connected").data
    dead.close()
    with demo_app.app.app_context():
        assert presence.people() == ["alice"]
    back.close()
    with demo_app.app.app_context():
        assert presence.people() == []
