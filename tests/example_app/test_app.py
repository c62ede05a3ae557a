"""The example app, without a server."""

from example_app import presence
from flask_sse_hub.testing import Stream
from tests.conftest import DemoApp


def test_a_user_who_reconnects_before_the_old_stream_ends_is_present(
    demo_app: DemoApp,
) -> None:
    """A dead connection is noticed late, when its client has already reconnected."""
    browser = demo_app.browser("alice")
    url = "/events?channel=lobby"
    dead = Stream(url, client=browser)
    client_id = dead.next("connected").json()["client_id"]
    with Stream(f"{url}&client_id={client_id}", client=browser) as back:
        assert back.next("connected").json()["client_id"] == client_id
        dead.close()
        with demo_app.app.app_context():
            assert presence.people() == ["alice"]
    with demo_app.app.app_context():
        assert presence.people() == []
