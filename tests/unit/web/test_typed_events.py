"""Typed events through an app: ``@sse_hub.event()``, HTTP, rows, and the test kit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_sse_hub import (
    Event,
    EventTypes,
    InvalidEvent,
    InvalidOption,
    Publisher,
    SSEHub,
)
from flask_sse_hub.testing import EventMissing, Published, Stream
from tests.conftest import MakeSite, Site


@dataclass
class Shipped:
    number: int


class Moved(TypedDict):
    to: str


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    site = make_site(login_required=False, publish_tokens=["a-token-for-everything"])
    site.hub.event("shipped")(Shipped)
    site.hub.event("moved")(Moved)
    return site


@pytest.fixture
def published(site: Site) -> Published:
    return Published(site.app)


def test_a_typed_event_is_published_with_its_type(
    site: Site, published: Published
) -> None:
    """Its targets are given as for any event. A TypedDict is named by its type."""
    site.hub.publish(Shipped(number=7), user=42)
    site.hub.publish(Moved(to="a"), type="moved", channel="parcels")
    event = published.one(type=Shipped, user=42)
    assert (event.type, event.json()) == ("shipped", {"number": 7})
    assert published.one(type=[Moved]).json() == {"to": "a"}
    assert len(published.events(type=[Moved, "shipped"])) == 2


def test_nothing_else_is_published_with_the_type(
    site: Site, published: Published
) -> None:
    """An Event is checked too: all data that clients receive is of its class."""
    for data in ({"number": "x"}, Event('{"number": "x"}', type="shipped"), "7"):
        type = {} if isinstance(data, Event) else {"type": "shipped"}
        with pytest.raises(InvalidEvent, match="does not fit Shipped"):
            site.hub.publish(data, **type)  # type: ignore[call-overload]
    site.hub.publish(Event('{"number":7}', type="shipped", retry=2.0))
    event = published.one()
    assert (event.json(), event.retry) == ({"number": 7}, 2.0)


def test_data_over_http_is_checked(site: Site, published: Published) -> None:
    """The answer names the field of the request."""
    client = site.app.test_client()
    headers = {"Authorization": "Bearer a-token-for-everything"}

    def post(data: Any) -> Any:
        event = {"data": data, "type": "shipped", "target": {"user": "42"}}
        return client.post("/events/publish", json=event, headers=headers)

    answer = post({"number": "x"})
    assert (answer.status_code, answer.json["field"]) == (400, "data")
    assert "number: str is not int" in answer.json["error"]
    assert post({"number": 7}).status_code == 202
    assert published.one(type=Shipped).json() == {"number": 7}


def test_a_stream_under_test_knows_the_classes(site: Site) -> None:
    """They stand for their types. A class without a type is refused."""
    with Stream("/events", client=site.app.test_client()) as stream:
        site.hub.publish(Shipped(number=7))
        site.hub.publish("the end")
        assert stream.next(Shipped).json() == {"number": 7}
        stream.none(Shipped, within=0)
        with pytest.raises(InvalidOption, match="EventTypes is not the class of a"):
            stream.next(EventTypes)
        with pytest.raises(EventMissing, match="no event of type 'moved' came"):
            stream.next(Moved, within=0)


def test_the_class_of_another_kind_is_refused(site: Site) -> None:
    """A habit of packages in which clients send events is explained."""
    with pytest.raises(InvalidOption, match="clients send ordinary requests"):
        site.hub.event(lambda data: None)  # type: ignore[arg-type]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[tuple[Flask, Publisher]]:
    """Return an app and a job's publisher with the same event types."""
    events = EventTypes()
    events.event("shipped")(Shipped)
    app = Flask("shop")
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    app.config.update(SSE_HUB_BROKER_URL=url, SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app, event_types=events)
    publisher = Publisher(url, create=True, event_types=events)
    yield app, publisher
    publisher.close()
    app.extensions["sse_hub"].broker.close()


def test_a_job_publishes_the_events_of_its_app(jobs: tuple[Flask, Publisher]) -> None:
    """Both share one EventTypes, in a module without the app."""
    app, publisher = jobs
    published = Published(app)
    publisher.publish(Shipped(number=7))
    assert published.one(type=Shipped).json() == {"number": 7}


db = SQLAlchemy()


class Parcel(db.Model):  # type: ignore[name-defined,misc]
    """A table whose rows are published."""

    number: Mapped[int] = mapped_column(primary_key=True)


def test_the_event_of_a_row_may_be_typed() -> None:
    """So may it be an Event: each has its own type."""
    app = Flask("shop")
    app.config.update(
        SSE_HUB_BROKER_URL="memory://", SQLALCHEMY_DATABASE_URI="sqlite://"
    )
    db.init_app(app)
    hub = SSEHub(app)
    hub.event("shipped")(Shipped)

    @hub.publishes(Parcel, on="insert")
    def inserted(change: Any) -> dict[str, Any]:
        return {"data": Shipped(number=change.row.number)}

    @hub.publishes(Parcel, on="delete")
    def deleted(change: Any) -> dict[str, Any]:
        return {"data": Event("gone", type="parcel")}

    with app.app_context():
        db.create_all()
        published = Published(app)
        db.session.add(parcel := Parcel(number=7))
        db.session.commit()
        db.session.delete(parcel)
        db.session.commit()
        db.session.remove()
        db.engine.dispose()
    assert [event.type for event in published.events()] == ["shipped", "parcel"]
