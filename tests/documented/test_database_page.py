"""The samples of the page about events that follow the database."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_sse_hub import Outbox, SSEHub
from flask_sse_hub.testing import Published
from tests.documented.samples import sample

PAGE = "docs/database.md"
INSTALL = sample(PAGE, "console", with_="pip install")
AFTER = sample(PAGE, "python", with_='@app.post("/orders")')
ROWS = sample(PAGE, "python", with_="@sse_hub.publishes")
HUB = sample(PAGE, "python", with_="db = SQLAlchemy()")
STORED = sample(PAGE, "python", with_="outbox=True)\ndb")
PLAIN = sample(PAGE, "python", with_="Outbox(Base")


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """The names of the page's app, whose customer 7 is always logged in."""
    names: dict[str, Any] = {
        "SQLAlchemy": SQLAlchemy,
        "SSEHub": SSEHub,
        "Outbox": Outbox,
        "request": request,
        "current_user": current_user,
        "login_required": login_required,
    }
    exec(HUB, names)  # noqa: S102
    db, app = names["db"], Flask("shop")
    app.config.update(
        SECRET_KEY="a key for tests",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SSE_HUB_BROKER_URL="memory://",
    )

    class Order(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int]
        total: Mapped[int]

    class Customer(UserMixin):  # type: ignore[misc]
        id = 7

    LoginManager(app).request_loader(lambda _: Customer())
    db.init_app(app)
    names["sse_hub"].init_app(app)
    names.update(app=app, Order=Order)
    with app.app_context():
        db.create_all()
        yield names
        app.extensions["sse_hub"].close()
        db.session.remove()
        db.engine.dispose()


def test_a_view_publishes_after_its_commit(names: dict[str, Any]) -> None:
    """The answer has the event's id."""
    exec(AFTER, names)  # noqa: S102
    published = Published(names["app"])
    answer = names["app"].test_client().post("/orders", data={"total": "5"})
    event = published.one(user=7)
    assert (answer.status_code, answer.get_json()) == (201, {"event": event.id})


def test_a_changed_row_is_published(names: dict[str, Any]) -> None:
    """The customer of the order receives its columns."""
    exec(ROWS, names)  # noqa: S102
    published = Published(names["app"])
    names["db"].session.add(names["Order"](customer_id=7, total=5))
    names["db"].session.commit()
    event = published.one(user=7)
    assert event.type == "order.insert"
    assert event.json() == {"id": 1, "customer_id": 7, "total": 5}


def test_an_event_is_stored_in_the_outbox(names: dict[str, Any]) -> None:
    """The commit passes it on, for a database in memory."""
    published = Published(names["app"])
    exec(STORED, names)  # noqa: S102
    assert published.one(type="order", user=7).json() == {"paid": True}


def test_an_outbox_works_without_flask_sqlalchemy() -> None:
    """A declarative base has the table then."""

    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    exec(PLAIN, {"Outbox": Outbox, "Base": Base, "engine": engine})  # noqa: S102
    assert "sse_hub_outbox" in Base.metadata.tables
    engine.dispose()


def test_the_extra_is_one_of_the_package() -> None:
    """``pip`` would only warn of an unknown one."""
    *_, package = shlex.split(INSTALL)
    assert package == "flask-sse-hub[sqlalchemy]"
