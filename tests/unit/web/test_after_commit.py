"""``publish(after=...)`` and the outbox in an app with Flask-SQLAlchemy."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, create_engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from flask_sse_hub import (
    BrokerUnavailable,
    EventTooLarge,
    InvalidEvent,
    InvalidOption,
    InvalidTarget,
    Outbox,
    PendingEvent,
    Publisher,
    SSEHub,
    event_lost,
    event_published,
)
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.database.relay import Relay
from flask_sse_hub.hub.stats import OutboxStats
from flask_sse_hub.testing import Published, Stream
from tests.kit.reader import wait_until

db = SQLAlchemy()
sse_hub = SSEHub(outbox=Outbox(db))


class Order(db.Model):  # type: ignore[name-defined,misc]
    """A table of the app."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


def create_app(database: str, broker: str = "memory://") -> Flask:
    app = Flask("site")
    app.config.update(
        SECRET_KEY="a key for tests",
        SQLALCHEMY_DATABASE_URI=database,
        SSE_HUB_BROKER_URL=broker,
        SSE_HUB_LOGIN_REQUIRED=False,
        SSE_HUB_STATS_ACCESS=lambda: True,
    )
    db.init_app(app)
    sse_hub.init_app(app)

    @app.post("/orders/<name>")
    def order(name: str) -> dict[str, Any]:
        db.session.add(Order(name=name))
        event = sse_hub.publish({"name": name}, type="order", after=db.session)
        if name == "bad":
            raise KeyError(name)
        before = event.id
        db.session.commit()
        return {"before": before, "after": event.id}

    @app.post("/stored/<name>")
    def stored(name: str) -> str:
        db.session.add(Order(name=name))
        sse_hub.publish(name, type="order", after=db.session, outbox=True)
        db.session.commit()
        return "stored"

    with app.app_context():
        db.create_all()
    return app


@pytest.fixture(params=["file", "memory"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An app with its database in a file, as deployed, and in memory, as in tests."""
    where = f"/{tmp_path}/app.db" if request.param == "file" else "/:memory:"
    app = create_app(f"sqlite://{where}")
    yield app
    app.extensions["sse_hub"].close()
    with app.app_context():
        db.engine.dispose()


class TestAfterTheCommit:
    """A view publishes beside its changes."""

    def test_the_event_follows_the_commit(self, app: Flask) -> None:
        """The handle has no id before, and has it right after."""
        published = Published(app)
        answer = app.test_client().post("/orders/x").get_json()
        assert answer["before"] is None
        assert answer["after"] == published.one(type="order").id

    def test_a_value_and_its_end_follow_the_commit(self, app: Flask) -> None:
        """With a plain session: ``key=``, and ``delete=True`` in the next commit."""
        with app.app_context(), Session(db.engine) as session:
            with Stream("/events?state=1", client=app.test_client()) as stream:
                stream.next("ping")
                for change in ({"data": 7}, {"data": None, "delete": True}):
                    event = sse_hub.publish(**change, key="price:A", after=session)
                    assert event.state == "waiting"
                    session.add(Order(name="x"))
                    session.commit()
                    came = stream.next()
                    assert (came.id, came.key) == (event.id, "price:A")
                    assert came.deleted is change.get("delete", False)
                sse_hub.publish(8, key="price:A", after=session)
                session.rollback()
            with Stream("/events?state=1", client=app.test_client()) as stream:
                came = stream.next(("message", "ping"))
                assert came.type == "ping"

    def test_a_view_that_fails_publishes_nothing(self, app: Flask) -> None:
        """Flask-SQLAlchemy closes the session of the request."""
        published = Published(app)
        assert app.test_client().post("/orders/bad").status_code == 500
        app.test_client().post("/orders/x")
        assert published.one().json() == {"name": "x"}

    def test_bad_input_raises_in_the_view(self, app: Flask) -> None:
        """Nothing is left to go wrong at the commit."""
        with app.app_context():
            with pytest.raises(InvalidEvent):
                sse_hub.publish(object(), after=db.session)
            with pytest.raises(EventTooLarge):
                sse_hub.publish("x" * 2_000_000, after=db.session, outbox=True)
            with pytest.raises(InvalidTarget, match="as after="):
                sse_hub.publish("x", session=db.session)  # type: ignore[arg-type]
            with pytest.raises(InvalidOption, match=r"pass after=db\.session"):
                sse_hub.publish("x", after=db)
            with pytest.raises(InvalidOption, match=r"pass after=db\.session too"):
                sse_hub.publish("x", outbox=True)  # type: ignore[call-overload]
            with pytest.raises(TypeError, match=r"Use after=, with the session"):
                sse_hub.publish("x", on_commit=True)  # type: ignore[call-overload]
            db.session.commit()

    def test_an_idempotency_key_counts_at_the_commit(self, app: Flask) -> None:
        """The second event with the key has the id of the first one."""
        published = Published(app)
        with app.app_context():
            events = [
                sse_hub.publish("x", after=db.session, idempotency_key="k")
                for _ in range(2)
            ]
            db.session.commit()
        assert events[0].id == events[1].id == published.one().id

    def test_a_broker_that_is_away_is_told(
        self,
        app: Flask,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """By the log, the signal and the statistics; the view has no error."""
        told: list[Any] = []

        def lost(sender: Flask, **values: Any) -> None:
            told.append((sender, values["event"].type, str(values["error"])))
            raise KeyError

        def publish(*_: object) -> None:
            raise BrokerUnavailable("away")

        monkeypatch.setattr(MemoryBroker, "publish", publish)
        with event_lost.connected_to(lost):
            answer = app.test_client().post("/orders/x").get_json()
        assert answer["after"] is None
        assert told == [(app, "order", "away")]
        with app.app_context():
            assert sse_hub.stats().lost_after_commit == 1
            assert db.session.query(Order).one().name == "x"
        assert any("1 of 1 events were not published" in m for m in caplog.messages)
        assert "a receiver of the signal event_lost failed" in caplog.text


class TestTheOutbox:
    """``outbox=True`` in a view."""

    def test_a_stream_receives_the_event(self, app: Flask) -> None:
        """The commit rings the relay of the worker that has the stream."""
        with Stream("/events", client=app.test_client()) as stream:
            stream.next("connected")
            assert app.test_client().post("/stored/x").text == "stored"
            assert stream.next("order").data == "x"

    def test_published_brings_it_to_the_log(self, app: Flask) -> None:
        """A test needs no stream, and no wait."""
        published = Published(app)
        app.test_client().post("/stored/x")
        assert published.one().data == "x"

    def test_receivers_of_the_signal_have_an_app_context(self, app: Flask) -> None:
        """The event is published outside a request."""
        seen: list[int] = []

        def receiver(*_: object, **__: object) -> None:
            seen.append(db.session.query(Order).count())

        published = Published(app)
        with event_published.connected_to(receiver, sender=app):
            app.test_client().post("/stored/x")
            assert published.one().data == "x"
        assert seen == [1]

    def test_a_commit_ends_no_app_context(self, app: Flask) -> None:
        """An app may remove the session of its thread then."""
        ended: list[int] = []
        app.teardown_appcontext(lambda _: ended.append(threading.get_ident()))
        with app.app_context():
            sse_hub.publish("x", after=db.session, outbox=True)
            db.session.commit()
            assert threading.get_ident() not in ended

    def test_the_statistics_show_it(self, app: Flask) -> None:
        """``GET /events/stats`` too."""
        published = Published(app)
        app.test_client().post("/stored/x")
        published.events()
        shown = app.test_client().get("/events/stats").get_json()["outbox"]
        assert shown == {"waiting": 0, "age": 0.0, "relayed": 1, "refused": 0}

    def test_a_shell_leaves_events_to_the_process_with_the_clients(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With memory://, its own log reaches nobody."""
        app = create_app(f"sqlite:///{tmp_path}/app.db")
        with app.app_context(), caplog.at_level(logging.INFO):
            event = sse_hub.publish("x", after=db.session, outbox=True)
            db.session.commit()
            assert sse_hub.stats().outbox is not None
            app.extensions["sse_hub"].after_commit.close()
            assert event.state == "stored"
            db.engine.dispose()
        app.extensions["sse_hub"].close()

    def test_rows_that_a_killed_worker_left_are_found(self, tmp_path: Path) -> None:
        """A request of any kind starts the relay of the next worker."""
        app = create_app(f"sqlite:///{tmp_path}/app.db", f"sqlite:///{tmp_path}/l.db")
        publisher = Publisher(f"sqlite:///{tmp_path}/l.db", outbox=sse_hub._outbox)
        log = app.extensions["sse_hub"].broker
        start = log.head()
        with app.app_context():
            publisher.publish("x", after=db.session, outbox=True)
            db.session.commit()
        app.test_client().get("/no-page")
        wait_until(lambda: log.head() != start)
        app.extensions["sse_hub"].close()
        publisher.close()
        with app.app_context():
            db.engine.dispose()

    def test_health_warns_of_events_that_wait_for_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The worker still serves streams."""
        app = create_app(f"sqlite:///{tmp_path}/app.db")
        stats = OutboxStats(waiting=2, age=75.0, relayed=0, refused=0)
        client = app.test_client()
        assert client.get("/events/health").get_json() == {"status": "ready"}
        monkeypatch.setattr(Relay, "stats", lambda _: stats)
        shown = client.get("/events/health").get_json()
        assert shown["status"] == "ready"
        assert shown["warnings"] == [
            "2 events wait in the outbox, the oldest for 75 s: the log says why"
        ]
        app.extensions["sse_hub"].close()
        with app.app_context():
            db.engine.dispose()

    def test_without_an_outbox_it_is_refused(self) -> None:
        """The error says how to make one."""
        app = Flask("without")
        app.config.update(SSE_HUB_BROKER_URL="memory://")
        hub = SSEHub(app)
        with (
            app.app_context(),
            Session(create_engine("sqlite://")) as session,
            pytest.raises(InvalidOption, match=r"SSEHub\(outbox=Outbox\(db\)\)"),
        ):
            hub.publish("x", after=session, outbox=True)
        with app.app_context():
            assert hub.stats().outbox is None

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    def test_a_forked_child_has_a_relay_of_its_own(self, tmp_path: Path) -> None:
        """The parent's has a thread, which the child does not have."""
        app = create_app(f"sqlite:///{tmp_path}/app.db")
        with app.app_context():
            commit = app.extensions["sse_hub"].after_commit
            commit.start()
            child = os.fork()
            if child == 0:
                other = commit.relay
                os._exit(0 if other.stats().relayed == 0 and other._bell is None else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            app.extensions["sse_hub"].close()
            db.engine.dispose()


class TestAPublisher:
    """A job that has a session, and no app."""

    def test_it_takes_the_same_arguments(self, tmp_path: Path) -> None:
        """``after`` appends to the log; with an outbox, the app's workers do."""
        engine = create_engine(f"sqlite:///{tmp_path}/app.db")
        db.metadata.create_all(engine)
        publisher = Publisher(
            f"sqlite:///{tmp_path}/log.db", create=True, outbox=sse_hub._outbox
        )
        with Session(engine) as session:
            event = publisher.publish("x", after=session)
            stored = publisher.publish("y", after=session, outbox=True)
            assert isinstance(event, PendingEvent)
            assert event.id is None
            session.commit()
            assert event.id is not None
            assert (stored.id, stored.state) == (None, "stored")
            rows = session.execute(db.metadata.tables["sse_hub_outbox"].select())
            assert len(rows.all()) == 1
        publisher.close()
        engine.dispose()
