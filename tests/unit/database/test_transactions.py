"""Events that follow a transaction of SQLAlchemy."""

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from flask_sse_hub import Event, InvalidEvent, InvalidOption, PendingEvent
from flask_sse_hub.database import uncommitted
from flask_sse_hub.database.joining import append_after
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Record
from tests.kit.databases import PostgreSQL
from tests.unit.database.conftest import METADATA, THING, Log

Open = Callable[[], Any]


def publish(after: Any, data: str, log: Log) -> PendingEvent:
    return append_after(after, Record((BROADCAST,), Event(data)), log.destination)


@pytest.fixture(params=["session", "scoped session", "connection"])
def after(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Any]:
    """Each thing that publish() takes as ``after``."""
    if request.param == "session":
        with Session(engine) as session:
            yield session
    elif request.param == "scoped session":
        scoped = scoped_session(sessionmaker(engine))
        yield scoped
        scoped.remove()
    else:
        with engine.connect() as connection:
            yield connection


class TestATransaction:
    """A session, a scoped session and a connection behave alike."""

    def test_a_commit_publishes_in_order(self, after: Any, log: Log) -> None:
        """Before it, the handles have no id, and nothing is in the log."""
        events = [publish(after, data, log) for data in "abc"]
        after.execute(insert(THING).values(name="x"))
        assert [each.id for each in events] == [None, None, None]
        assert {each.state for each in events} == {"waiting"}
        assert log.data == []
        after.commit()
        assert log.data == ["a", "b", "c"]
        assert [each.id for each in events] == ["log-1", "log-2", "log-3"]
        assert {each.state for each in events} == {"published"}

    def test_a_rollback_forgets(self, after: Any, log: Log) -> None:
        """Also one before the first statement."""
        handle = publish(after, "a", log)
        after.rollback()
        after.commit()
        assert (handle.state, handle.id, log.data) == ("forgotten", None, [])

    def test_an_end_without_a_commit_forgets(self, after: Any, log: Log) -> None:
        """A request that fails closes its session."""
        after.execute(insert(THING).values(name="x"))
        handle = publish(after, "a", log)
        after.close()
        assert (handle.state, log.data) == ("forgotten", [])

    def test_the_next_transaction_is_a_new_one(self, after: Any, log: Log) -> None:
        """Events of an earlier one do not come again."""
        publish(after, "a", log)
        after.commit()
        publish(after, "forgotten", log)
        after.rollback()
        publish(after, "b", log)
        after.execute(select(THING))
        after.commit()
        after.execute(insert(THING).values(name="x"))
        after.commit()
        assert log.data == ["a", "b"]

    def test_a_released_savepoint_is_a_part_of_the_transaction(
        self, after: Any, log: Log
    ) -> None:
        """Its events come in their order, after the commit."""
        publish(after, "a", log)
        with after.begin_nested():
            publish(after, "b", log)
            with after.begin_nested():
                publish(after, "c", log)
        publish(after, "d", log)
        assert log.data == []
        after.commit()
        assert log.data == ["a", "b", "c", "d"]

    def test_a_savepoint_that_is_rolled_back_is_forgotten(
        self, after: Any, log: Log
    ) -> None:
        """So are savepoints that were released within it."""
        publish(after, "a", log)
        outer = after.begin_nested()
        inside = publish(after, "b", log)
        with after.begin_nested():
            deeper = publish(after, "c", log)
        outer.rollback()
        publish(after, "d", log)
        after.commit()
        assert log.data == ["a", "d"]
        assert (inside.state, deeper.state) == ("forgotten", "forgotten")

    def test_a_savepoint_from_before_the_first_event_counts(
        self, after: Any, log: Log
    ) -> None:
        """It began when nothing listened to the transaction."""
        savepoint = after.begin_nested()
        publish(after, "a", log)
        savepoint.rollback()
        publish(after, "b", log)
        after.commit()
        assert log.data == ["b"]

    def test_a_commit_ends_open_savepoints(self, after: Any, log: Log) -> None:
        """A commit of the whole transaction releases them."""
        after.begin_nested()
        publish(after, "a", log)
        after.commit()
        assert log.data == ["a"]

    def test_the_events_of_one_are_bounded(
        self, after: Any, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are in memory until its end."""
        monkeypatch.setattr(uncommitted, "_MOST_EVENTS", 2)
        for data in "ab":
            publish(after, data, log)
        with pytest.raises(InvalidEvent, match="2 events wait for this transaction"):
            publish(after, "c", log)
        after.commit()
        assert log.data == ["a", "b"]

    def test_two_transactions_do_not_mix(
        self, after: Any, log: Log, engine: Engine
    ) -> None:
        """A rollback of one says nothing about the other."""
        with Session(engine) as other:
            publish(after, "a", log)
            publish(other, "b", log)
            other.commit()
            assert log.data == ["b"]
            publish(other, "c", log)
            other.rollback()
            after.commit()
        assert log.data == ["b", "a"]

    def test_a_commit_that_fails_publishes_nothing(self, after: Any, log: Log) -> None:
        """A constraint may be checked only by the commit."""
        after.execute(text("PRAGMA foreign_keys = ON"))
        after.execute(
            text(
                "CREATE TABLE part (thing INTEGER REFERENCES thing (id) DEFERRABLE"
                " INITIALLY DEFERRED)"
            )
        )
        after.commit()
        handle = publish(after, "a", log)
        after.execute(text("INSERT INTO part VALUES (7)"))
        with pytest.raises(IntegrityError):
            after.commit()
        after.rollback()
        assert (handle.state, log.data) == ("forgotten", [])

    def test_a_broker_that_is_away_is_no_error_of_the_commit(
        self, after: Any, log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The rows are there. The loss is told, once, and no event is left out."""
        log.away = True
        after.execute(insert(THING).values(name="x"))
        events = [publish(after, data, log) for data in "ab"]
        after.commit()
        assert after.execute(select(THING.c.name)).scalars().all() == ["x"]
        assert [each.state for each in events] == ["failed", "failed"]
        assert log.lost == ["a", "b"]
        publish(after, "lost too", log)
        after.commit()
        # One line for each cause, however many commits there are.
        (line,) = caplog.messages
        assert "2 of 2 events were not published after the commit" in line
        log.away = False
        publish(after, "c", log)
        after.commit()
        assert log.data == ["c"]

    def test_the_apps_own_timeout_goes_on(self, after: Any, log: Log) -> None:
        """A Timeout of gevent is no ``Exception``. The commit is over by then."""

        class Timeout(BaseException):
            pass

        def append(_: Record) -> str:
            raise Timeout

        destination = log.destination._replace(append=append)
        record = Record((BROADCAST,), Event("a"))
        handle = append_after(after, record, destination)
        with pytest.raises(Timeout):
            after.commit()
        assert handle.state == "failed"
        after.rollback()
        publish(after, "b", log)
        after.commit()
        assert log.data == ["b"]


class TestASession:
    """Promises of sessions alone."""

    def test_it_is_free_when_events_are_published(
        self, engine: Engine, log: Log
    ) -> None:
        """Waiting for the broker holds no connection, and receivers may use it."""
        with Session(engine) as session:
            seen: list[Any] = []

            def append(_: Record) -> str:
                seen.append((session.in_transaction(), engine.pool.checkedout()))  # type: ignore[attr-defined]
                seen.append(session.scalars(select(THING.c.name)).all())
                return "log-1"

            destination = log.destination._replace(append=append)
            session.execute(insert(THING).values(name="x"))
            append_after(session, Record((BROADCAST,), Event("a")), destination)
            session.commit()
        assert seen == [(False, 0), ["x"]]

    def test_a_hook_of_the_commit_may_publish(self, engine: Engine, log: Log) -> None:
        """The event is the last one of that transaction."""
        with Session(engine) as session:

            @event.listens_for(session, "after_commit")
            def after_commit(session: Session) -> None:
                if not session.in_nested_transaction():
                    publish(session, "hook", log)

            publish(session, "a", log)
            with session.begin_nested():
                publish(session, "b", log)
            session.commit()
        assert log.data == ["a", "b", "hook"]

    def test_a_hook_that_fails_hides_no_commit(self, engine: Engine, log: Log) -> None:
        """The rows are there, and so is the event."""
        with Session(engine) as session:

            @event.listens_for(session, "after_commit")
            def after_commit(_: Session) -> None:
                raise KeyError

            publish(session, "a", log)
            with pytest.raises(KeyError):
                session.commit()
            session.close()
        assert log.data == ["a"]

    def test_a_block_of_its_own_publishes(self, engine: Engine, log: Log) -> None:
        """``with session.begin():`` commits at its end."""
        make = sessionmaker(engine)
        with make.begin() as session:
            publish(session, "a", log)
        with pytest.raises(KeyError), make.begin() as session:  # noqa: PT012
            publish(session, "b", log)
            raise KeyError
        assert log.data == ["a"]

    def test_a_flush_that_fails_forgets(self, engine: Engine, log: Log) -> None:
        """Within a savepoint, the events before it stay."""
        with Session(engine) as session:
            session.execute(insert(THING).values(name="x"))
            publish(session, "a", log)
            with pytest.raises(IntegrityError), session.begin_nested():  # noqa: PT012
                publish(session, "b", log)
                session.execute(insert(THING).values(name="x"))
            session.commit()
        assert log.data == ["a"]

    def test_without_autobegin_it_must_have_begun(
        self, engine: Engine, log: Log
    ) -> None:
        """A transaction that begins unasked would be an error elsewhere."""
        with Session(engine, autobegin=False) as session:
            with pytest.raises(InvalidOption, match=r"call session\.begin\(\) first"):
                publish(session, "a", log)
            with session.begin():
                publish(session, "b", log)
        assert log.data == ["b"]

    def test_a_test_may_roll_back_the_whole(self, engine: Engine, log: Log) -> None:
        """A session on a connection with a transaction of a test commits all the same.

        See "Joining a Session into an External Transaction" of SQLAlchemy.
        """
        with engine.connect() as connection:
            outer = connection.begin()
            session = Session(connection, join_transaction_mode="create_savepoint")
            publish(session, "a", log)
            session.commit()
            session.close()
            outer.rollback()
        assert log.data == ["a"]

    def test_autocommit_is_told_by_its_own_commit(
        self, engine: Engine, log: Log
    ) -> None:
        """A session writes its objects then."""
        with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
            publish(session, "a", log)
            assert log.data == []
            session.commit()
        assert log.data == ["a"]

    def test_its_listeners_go_with_it(self, engine: Engine, log: Log) -> None:
        """An app has a new session in each request."""
        session = Session(engine)
        publish(session, "a", log)
        session.commit()
        gone = weakref.ref(session)
        del session
        gc.collect()
        assert gone() is None

    def test_sessions_of_threads_do_not_mix(self, engine: Engine, log: Log) -> None:
        """Each thread has its own session of a scoped one."""
        scoped = scoped_session(sessionmaker(engine))
        publish(scoped, "mine", log)

        def other() -> None:
            publish(scoped, "other", log)
            scoped.rollback()
            scoped.remove()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        scoped.commit()
        scoped.remove()
        assert log.data == ["mine"]


class TestAConnection:
    """Promises of connections alone."""

    def test_the_connection_of_a_session_ends_with_it(
        self, engine: Engine, log: Log
    ) -> None:
        """A hook of SQLAlchemy receives that connection."""
        with Session(engine) as session:
            publish(session.connection(), "a", log)
            session.commit()
            publish(session.connection(), "b", log)
            session.rollback()
        assert log.data == ["a"]

    def test_autocommit_publishes_at_once(self, engine: Engine, log: Log) -> None:
        """All statements before are committed, and no commit need come."""
        with engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            handle = publish(connection, "a", log)
        other = create_engine(engine.url, isolation_level="AUTOCOMMIT")
        with other.connect() as connection:
            publish(connection, "b", log)
        other.dispose()
        assert (log.data, handle.id) == (["a", "b"], "log-1")

    def test_a_forgotten_connection_leaves_nothing_to_the_next(
        self, engine: Engine, log: Log
    ) -> None:
        """The pool rolls it back, and gives it to somebody else."""
        publish(engine.connect(), "a", log)
        gc.collect()
        with engine.begin() as connection:
            connection.execute(insert(THING).values(name="x"))
        assert log.data == []

    def test_a_connection_that_broke_publishes_nothing(
        self, engine: Engine, log: Log
    ) -> None:
        """Its transaction is lost, and another one begins."""
        with engine.connect() as connection:
            publish(connection, "a", log)
            connection.invalidate()
            connection.rollback()
            connection.execute(insert(THING).values(name="x"))
            connection.commit()
        assert log.data == []


class TestTwoPhases:
    """A transaction of several databases, which are prepared first."""

    @pytest.fixture
    def server(self, postgresql: PostgreSQL) -> Iterator[Engine]:
        engine = create_engine(postgresql.new_url())
        METADATA.create_all(engine)
        yield engine
        engine.dispose()

    def test_a_session_publishes_after_the_second(
        self, server: Engine, log: Log
    ) -> None:
        """Not when it is prepared."""
        with Session(server, twophase=True) as session:
            session.execute(insert(THING).values(name="x"))
            publish(session, "a", log)
            session.prepare()
            assert log.data == []
            session.commit()
            assert log.data == ["a"]
            session.execute(insert(THING).values(name="y"))
            publish(session, "b", log)
            session.prepare()
            session.rollback()
        assert log.data == ["a"]

    def test_so_does_a_connection(self, server: Engine, log: Log) -> None:
        """Prepared or not."""
        with server.connect() as connection:
            for prepared in (True, False):
                transaction = connection.begin_twophase()
                connection.execute(insert(THING).values(name=f"{prepared}"))
                publish(connection, f"{prepared}", log)
                if prepared:
                    transaction.prepare()
                transaction.commit()
            transaction = connection.begin_twophase()
            publish(connection, "c", log)
            transaction.prepare()
            transaction.rollback()
        assert log.data == ["True", "False"]


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda _: "x", r"not str: pass after=db\.session"),
        (lambda engine: engine, "not Engine: pass the session or connection"),
        (sessionmaker, "not sessionmaker: pass the session or connection"),
        (lambda engine: Session(engine).begin(), "pass the session or connection that"),
        (lambda _: AsyncSession(), "Async is not supported: call publish"),
        (
            lambda _: async_scoped_session(AsyncSession, scopefunc=int),  # type: ignore[arg-type]
            "Async is not supported",
        ),
    ],
)
def test_anything_else_is_refused(
    make: Callable[[Engine], Any], remedy: str, engine: Engine, log: Log
) -> None:
    """The text says what to pass instead."""
    with pytest.raises(InvalidOption, match=remedy):
        publish(make(engine), "a", log)


def test_nothing_is_logged_when_all_is_well(
    engine: Engine, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit is no news."""
    with caplog.at_level(logging.DEBUG, "flask_sse_hub"), Session(engine) as session:
        publish(session, "a", log)
        session.commit()
    assert caplog.messages == []
