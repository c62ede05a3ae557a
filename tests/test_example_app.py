"""The example app, without a server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app, presence
from tests.reader import StreamReader


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("FLASK_SECRET_KEY", "a key for tests")
    monkeypatch.setenv("FLASK_SSE_HUB_BROKER_URL", "memory://")
    app = create_app()
    app.instance_path = str(tmp_path)
    yield app
    app.extensions["sse_hub"].hub.close()


def stream(browser: FlaskClient, url: str) -> StreamReader:
    response: Any = browser.get(url)
    return StreamReader(response.response)


def test_who_is_back_before_the_old_stream_has_ended_is_there(app: Flask) -> None:
    """A connection that died is noticed late, and its client has another by then."""
    browser = app.test_client()
    browser.post("/login", data={"name": "alice", "password": "demo"})
    dead = stream(browser, "/events?channel=lobby")
    client_id = json.loads(dead.next("connected").data)["client_id"]
    url = f"/events?channel=lobby&client_id={client_id}"
    back = stream(browser, url)
    assert client_id in back.next("connected").data
    dead.close()
    with app.app_context():
        assert presence.people() == ["alice"]
    back.close()
    with app.app_context():
        assert presence.people() == []
