"""The outbox: events that are published exactly once, on every database."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, create_engine, func, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import StaticPool

from flask_sse_hub import (
    BrokerUnavailable,
    Event,
    InvalidEvent,
    InvalidOption,
    Outbox,
    PendingEvent,
)
from flask_sse_hub.database import relay as relays
from flask_sse_hub.database.joining import store
from flask_sse_hub.database.relay import Outcome, Relay
from flask_sse_hub.database.turns import connected, turn
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import UNPLACED, ChannelBounds, Record
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer

DATABASES = ["sqlite", "postgresql", "mariadb"]


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return a function that makes a database of a kind, and returns its URL."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/app.db"
        url: str = request.getfixturevalue(kind).new_url()
        return url

    return make


class Site:
    """An app's database with an outbox, and a log that may be away."""

    def __init__(self, engine: Engine) -> None:
        metadata = MetaData()
        self.engine = engine
        self.outbox = Outbox(metadata, engine=engine)
        metadata.create_all(engine)
        self.table = metadata.tables["sse_hub_outbox"]
        self.log: list[Record] = []
        self.away = False
        self.relay = Relay(self.outbox, append=self.append)

    def append(self, record: Record) -> str:
        if self.away:
            raise BrokerUnavailable("the broker is away")
        if isinstance(record.content, Event) and record.content.data == "refused":
            raise InvalidEvent("there is no room for it")
        self.log.append(record)
        return f"log-{len(self.log)}"

    def store(self, after: Any, data: str = "x", **options: Any) -> PendingEvent:
        record = Record((BROADCAST,), Event(data), **options)
        return store(after, record, self.outbox, self.relay.ring)

    def commit(self, *texts: str) -> None:
        """Store events in one transaction, without a ring."""
        with Session(self.engine) as session:
            for data in texts:
                record = Record((BROADCAST,), Event(data))
                store(session, record, self.outbox, lambda *_: None)
            session.commit()

    @property
    def data(self) -> list[str]:
        return [each.content.data for each in self.log if hasattr(each.content, "data")]

    def rows(self) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(self.table)) or 0

    def close(self) -> None:
        self.relay.close()
        self.engine.dispose()


@pytest.fixture(params=DATABASES)
def site(
    request: pytest.FixtureRequest, new_url: Callable[[str], str]
) -> Iterator[Site]:
    """One site on each database."""
    site = Site(create_engine(new_url(request.param)))
    yield site
    site.close()


class TestStoring:
    """``publish(..., after=..., outbox=True)`` writes a row in the transaction."""

    def test_a_commit_stores_and_a_rollback_does_not(self, site: Site) -> None:
        """The rows are the app's own, and savepoints count."""
        with Session(site.engine) as session:
            site.store(session, "a")
            session.rollback()
            site.store(session, "b")
            savepoint = session.begin_nested()
            site.store(session, "c")
            savepoint.rollback()
            session.commit()
        with site.engine.connect() as connection:
            site.store(connection, "d")
            connection.rollback()
        site.relay.pass_all_on()
        assert site.data == ["b"]

    def test_a_row_keeps_the_whole_record(self, site: Site) -> None:
        """Text of all kinds, the targets and the app's own key."""
        text = "snowman \N{SNOWMAN} \N{GRINNING FACE} NUL \0 line\nend"
        record = Record(
            ("c:news", "u:7"),  # type: ignore[arg-type]
            Event(text, type="t", retry=2.0),
            exclude=("client",),
            idempotency_key="key \N{GRINNING FACE}",
            ttl=2.5,
            receipt=True,
        )
        with Session(site.engine) as session:
            store(session, record, site.outbox, lambda *_: None)
            session.commit()
        site.relay.pass_all_on()
        (found,) = site.log
        assert (found.addresses, found.content) == (record.addresses, record.content)
        assert (found.exclude, found.ttl) == (record.exclude, record.ttl)
        assert found.receipt
        assert found.idempotency_key == record.idempotency_key

    @pytest.mark.parametrize(
        "more",
        [
            {"key": "price:AAPL", "ttl": 2.5},
            {"key": "price:AAPL", "deletes": True},
            {"bounds": ChannelBounds(events=9, seconds=60.0)},
        ],
        ids=["value", "end", "bounds"],
    )
    def test_a_row_keeps_what_the_log_needs(
        self, site: Site, more: dict[str, Any]
    ) -> None:
        """The key of a value, its end, and the bounds of a channel's history."""
        record = Record((address.channel("prices"),), Event("x"), **more)
        with Session(site.engine) as session:
            store(session, record, site.outbox, lambda *_: None)
            session.commit()
        site.relay.pass_all_on()
        (found,) = site.log
        assert replace(found, idempotency_key=None, cursor=UNPLACED) == record

    def test_a_large_event_fits(self, site: Site) -> None:
        """The largest that SSE_HUB_MAX_EVENT_BYTES allows by default."""
        site.commit("x" * 1_048_576)
        site.relay.pass_all_on()
        assert len(site.data[0]) == 1_048_576

    def test_each_event_has_a_key_of_its_own(self, site: Site) -> None:
        """Numbers of rows could come again, and an event would be taken for another."""
        site.commit("a", "b")
        site.relay.pass_all_on()
        site.commit("c")
        site.relay.pass_all_on()
        assert len({each.idempotency_key for each in site.log}) == 3


class TestRelaying:
    """A relay appends rows and deletes them."""

    def test_rows_are_appended_in_order_and_deleted(self, site: Site) -> None:
        """More of them than one turn takes."""
        texts = [str(number) for number in range(relays._ROWS + 5)]
        site.commit(*texts)
        site.relay.pass_all_on()
        assert (site.data, site.rows()) == (texts, 0)
        stats = site.relay.stats()
        assert (stats.waiting, stats.age, stats.relayed) == (0, 0.0, len(texts))

    def test_a_commit_rings_the_relay(self, site: Site) -> None:
        """Its thread passes the event on, and the handle has the id."""
        with Session(site.engine) as session:
            handle = site.store(session, "a")
            session.commit()
        assert handle.state in ("stored", "published")
        wait_until(lambda: handle.id == "log-1")
        wait_until(lambda: site.rows() == 0)

    def test_rows_of_other_processes_are_found(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that was killed rings no more."""
        monkeypatch.setattr(relays, "_LOOK_SECONDS", 0.05)
        site.relay.start()
        site.commit("a")
        wait_until(lambda: site.data == ["a"])

    def test_a_broker_that_is_away_keeps_the_rows(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is told once, the statistics show it, and the order stays."""
        site.commit("a", "b")
        site.away = True
        for _ in range(3):
            assert site.relay.look() is Outcome.TROUBLE
        (line,) = caplog.messages
        assert "events wait in the outbox, trying again: BrokerUnavailable" in line
        stats = site.relay.stats()
        assert stats.waiting == 2
        assert stats.age > 0.0
        site.away = False
        site.relay.pass_all_on()
        assert (site.data, site.rows()) == (["a", "b"], 0)

    def test_an_event_that_can_never_be_published_is_set_aside(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The events behind it go on, and the row stays with the reason."""
        site.commit("a", "refused", "b")
        with site.engine.begin() as connection:
            connection.execute(insert(site.table).values(body=b"not ours", created=1.0))
        site.relay.pass_all_on()
        assert (site.data, site.rows()) == (["a", "b"], 2)
        assert sum("can never be published" in each for each in caplog.messages) == 2
        assert site.relay.stats().refused == 2
        with site.engine.begin() as connection:
            problems = connection.scalars(select(site.table.c.problem)).all()
            connection.execute(update(site.table).values(problem=None, body=b"x"))
        assert problems[0] == "there is no room for it"
        site.relay.pass_all_on()
        assert site.rows() == 2

    def test_relays_take_turns(self, site: Site) -> None:
        """One that comes in the middle of a turn waits; the next turn is its own."""
        site.commit("a")
        with connected(site.engine) as one, turn(one) as mine:
            assert mine
            assert site.relay.look() is Outcome.BUSY
            assert site.data == []
        site.relay.pass_all_on()
        assert site.data == ["a"]

    def test_a_turn_leaves_nothing_behind(self, site: Site) -> None:
        """The connection goes back to the app's pool."""
        engine = create_engine(site.engine.url, pool_size=1)
        for _ in range(3):
            with connected(engine) as connection, turn(connection) as mine:
                assert mine
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
            assert patience == 5000
        engine.dispose()

    def test_an_engine_with_autocommit_has_turns_too(self, site: Site) -> None:
        """A turn of PostgreSQL lasts as long as its transaction."""
        site.commit("a")
        engine = create_engine(site.engine.url, isolation_level="AUTOCOMMIT")
        with connected(engine) as one, turn(one) as mine:
            assert mine
            assert site.relay.look() is Outcome.BUSY
        engine.dispose()

    def test_two_relays_double_nothing(self, site: Site) -> None:
        """Each event is in the log once, in order."""
        texts = [str(number) for number in range(100)]
        site.commit(*texts)
        another = Relay(site.outbox, append=site.append)
        for relay in (site.relay, another):
            relay.start()
        wait_until(lambda: site.rows() == 0)
        assert site.data == texts
        another.close()


class TestSQLite:
    """A file that one process writes at a time, and databases in memory."""

    def test_a_writer_in_the_middle_is_waited_for(
        self, new_url: Callable[[str], str]
    ) -> None:
        """The event is in the log meanwhile, and is not appended again."""
        site = Site(create_engine(new_url("sqlite")))
        site.commit("a")
        with site.engine.connect() as writer:
            writer.exec_driver_sql("BEGIN IMMEDIATE")
            thread = threading.Thread(target=site.relay.pass_all_on)
            thread.start()
            wait_until(lambda: site.data == ["a"])
            writer.rollback()
        thread.join()
        assert (site.data, site.rows()) == (["a"], 0)
        site.close()

    def test_in_memory_the_commit_passes_events_on(self) -> None:
        """A relay of another thread would use the app's own open connection."""
        site = Site(create_engine("sqlite://", poolclass=StaticPool))
        with Session(site.engine) as session:
            handle = site.store(session, "a")
            assert site.data == []
            session.commit()
        assert (handle.id, site.data) == ("log-1", ["a"])
        site.close()


class TestTheTable:
    """The table in the app's metadata."""

    @pytest.mark.parametrize("kind", DATABASES)
    def test_alembic_sees_it(self, kind: str, new_url: Callable[[str], str]) -> None:
        """A migration makes it, and finds no difference afterwards."""
        engine = create_engine(new_url(kind))
        metadata = MetaData()
        Outbox(metadata, engine=engine)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            ((what, table),) = compare_metadata(context, metadata)
            assert (what, table.name) == ("add_table", "sse_hub_outbox")
            metadata.create_all(connection)
            connection.commit()
            assert compare_metadata(context, metadata) == []
        engine.dispose()

    def test_every_form_of_db_is_taken(self) -> None:
        """Flask-SQLAlchemy's, a declarative base, and metadata with an engine."""

        class Base(DeclarativeBase):
            pass

        db = SQLAlchemy()
        Outbox(db)
        assert "sse_hub_outbox" in db.metadata.tables
        engine = create_engine("sqlite://")
        Outbox(Base, engine=lambda: engine)
        assert "sse_hub_outbox" in Base.metadata.tables
        engine.dispose()

    @pytest.mark.parametrize(
        ("db", "options", "text"),
        [
            ("db", {}, "takes the db of Flask-SQLAlchemy, a declarative base or"),
            (MetaData(), {}, "engine is missing"),
            (MetaData(), {"engine": "sqlite://"}, "engine must be an Engine"),
        ],
    )
    def test_anything_else_is_refused(
        self, db: Any, options: dict[str, Any], text: str
    ) -> None:
        """The text says what to pass."""
        with pytest.raises(InvalidOption, match=text):
            Outbox(db, **options)

    def test_a_second_one_is_refused(self) -> None:
        """Both would relay the same rows."""
        db = SQLAlchemy()
        Outbox(db)
        with pytest.raises(InvalidOption, match="make one Outbox"):
            Outbox(db)


@pytest.mark.parametrize(
    ("database", "broker"),
    [
        ("sqlite", "sqlite"),
        ("postgresql", "sqlite"),
        ("mariadb", "sqlite"),
        ("sqlite", "redis"),
    ],
)
def test_a_process_may_be_killed_at_each_step(
    database: str,
    broker: str,
    new_url: Callable[[str], str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The events in the log are those of the rows: none is lost, none is double."""
    broker_url = f"sqlite:///{tmp_path}/log.db"
    if broker == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.run("DEL", "sse-hub:killed")
        broker_url = server.url
    module = "tests.unit.database.killed"
    found = subprocess.run(
        [sys.executable, "-m", module, new_url(database), broker_url],
        capture_output=True,
        text=True,
        timeout=100.0,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    steps, _, events, _ = found.stdout.split()
    assert int(steps) > 15, "steps are missing"
    assert int(events) > 20
