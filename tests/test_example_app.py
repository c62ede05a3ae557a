"""The example app, without a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from example_app import create_app, presence
from flask_sse_hub.testing import Stream


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("FLASK_SECRET_KEY", "a key for tests")
    monkeypatch.setenv("FLASK_SSE_HUB_BROKER_URL", "memory://")
    app = create_app()
    app.instance_path = str(tmp_path)
    yield app
    app.extensions["sse_hub"].hub.close()


def test_who_is_back_before_the_old_stream_has_ended_is_there(app: Flask) -> None:
    """A connection that died is noticed late, and its client has another by then."""
    browser = app.test_client()
    browser.post("/login", data={"name": "alice", "password": "demo"})
    url = "/events?channel=lobby"
    dead = Stream(url, client=browser)
    client_id = dead.next("connected").json()["client_id"]
    with Stream(f"{url}&client_id={client_id}", client=browser) as back:
        assert back.next("connected").json()["client_id"] == client_id
        dead.close()
        with app.app_context():
            assert presence.people() == ["alice"]
    with app.app_context():
        assert presence.people() == []
