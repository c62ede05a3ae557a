"""The tutorial's app: notifications are rows, and events tell open pages of them.

tests/browser/test_samples.py has the page.
"""

import re
from collections.abc import Iterator
from importlib.metadata import metadata
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask_login import LoginManager, UserMixin, current_user, login_required
from flask_sqlalchemy import SQLAlchemy

from flask_sse_hub import SSEHub
from flask_sse_hub.testing import Published, Stream
from tests.documented.samples import sample

PAGE = "docs/notifications.md"
INSTALL = sample(PAGE, "sh")
STORE = sample(PAGE, "python", with_="def notify")
SHOW = sample(PAGE, "python", with_="context_processor")
TEMPLATE = sample(PAGE, "html")


class Customer(UserMixin):  # type: ignore[misc]
    id = 7


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """The names of the tutorial's app, in which customer 7 is always logged in."""
    app, db = Flask("shop"), SQLAlchemy()
    app.config.update(
        SECRET_KEY="a key for tests",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SSE_HUB_BROKER_URL="memory://",
    )
    LoginManager(app).request_loader(lambda _: Customer())
    db.init_app(app)
    names: dict[str, Any] = {"app": app, "db": db, "sse_hub": SSEHub(app)}
    names.update(current_user=current_user, login_required=login_required)
    app.add_url_rule("/", "home", lambda: render_template_string(TEMPLATE))
    exec(STORE + SHOW, names)  # noqa: S102
    with app.app_context():
        db.create_all()
        yield names
        app.extensions["sse_hub"].close()
        db.session.remove()
        db.engine.dispose()


def test_a_page_shows_the_rows_and_hears_of_new_ones(names: dict[str, Any]) -> None:
    """Its stream goes on from the cursor that was taken before the rows were loaded."""
    notify, session = names["notify"], names["db"].session
    notify(7, "the first")
    notify(8, "for somebody else")
    session.commit()
    client = names["app"].test_client()
    page = client.get("/").text
    assert '<b id="count" data-sse-refresh>1</b>' in page
    assert '<li data-id="1">the first</li>' in page
    notify(7, "the second")
    session.commit()
    cursor = re.search(r"[0-9a-f]{12}-\d+", page)
    assert cursor is not None
    with Stream(f"/events?last_event_id={cursor[0]}", client=client) as stream:
        assert stream.next().json() == {"id": 3, "text": "the second"}


def test_nothing_is_told_of_a_notification_that_is_rolled_back(
    names: dict[str, Any],
) -> None:
    """There is neither a row nor an event."""
    published = Published(names["app"])
    names["notify"](7, "never")
    names["db"].session.rollback()
    assert published.events() == []
    assert names["Notification"].query.count() == 0


def test_a_click_empties_the_lists_of_all_tabs(names: dict[str, Any]) -> None:
    """The rows are read, and an event says so after the commit."""
    names["notify"](7, "the first")
    names["db"].session.commit()
    published = Published(names["app"])
    client = names["app"].test_client()
    assert client.post("/notifications/read").status_code == 204
    assert published.one(type="all-read", user=7)
    assert '<b id="count" data-sse-refresh>0</b>' in client.get("/").text


def test_the_extras_of_the_installation_exist() -> None:
    """A misspelt extra would install nothing, with a warning alone."""
    extras = re.findall(r"\w+", INSTALL.partition("[")[2].partition("]")[0])
    assert set(extras) <= set(metadata("flask-sse-hub").get_all("Provides-Extra") or [])
    assert len(extras) == 3
