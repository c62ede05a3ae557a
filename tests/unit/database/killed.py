"""A program that is killed at each step of storing and relaying events.

``python -m tests.unit.database.killed DATABASE_URL BROKER_URL``. A child process stores
two events in a transaction and relays them; it kills itself at the first step. The next
child relays the rows that were left, and goes on to the second step, and so on, until
one comes to its end. The program prints the number of steps, and ends with an error if
the events in the log are not those of the rows.
"""

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from flask_sse_hub import Event, Outbox
from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.database.joining import store
from flask_sse_hub.database.relay import Relay
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Record
from tests.kit.hand import KEEP_ALL

KILLED = 9

METADATA = MetaData()
ORDER = Table(
    "orders",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(50)),
)


class Steps:
    """Count steps, and end the process without a word at the last one."""

    def __init__(self) -> None:
        self._left = 0

    def begin(self, last: int) -> None:
        self._left = last

    def step(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(KILLED)


def open_broker(url: str) -> Broker:
    return create_broker(url, KEEP_ALL, folder=Path("/"), name="killed")


def child(engine: Engine, broker_url: str, outbox: Outbox, last: int) -> NoReturn:
    steps = Steps()
    for name in ("before_cursor_execute", "commit"):
        sqlalchemy_event.listen(engine, name, lambda *_: steps.step())
    broker = open_broker(broker_url)

    def append(record: Record) -> str:
        steps.step()
        event_id = str(broker.publish(record))
        steps.step()
        return event_id

    relay = Relay(outbox, append=append)
    relay.pass_all_on()
    steps.begin(last)
    with Session(engine) as session:
        sqlalchemy_event.listen(session, "after_commit", steps.step)
        for part in "ab":
            name = f"{last}-{part}"
            session.execute(insert(ORDER).values(name=name))
            record = Record((BROADCAST,), Event(name))
            store(session, record, outbox, lambda *_: None)
        session.commit()
    relay.pass_all_on()
    os._exit(0)


def fork(engine: Engine, broker_url: str, outbox: Outbox, last: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            child(engine, broker_url, outbox, last)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def published(broker: Broker, after: Cursor) -> Iterator[str]:
    while after != broker.head():
        page = broker.replay(after, page=1_000)
        for record in page.records:
            assert isinstance(record.content, Event)
            yield record.content.data
        after = page.cursor


def main(database_url: str, broker_url: str) -> None:
    # Each child would import the parts of the broker again.
    open_broker(broker_url).close()
    engine = create_engine(database_url, poolclass=NullPool)
    outbox = Outbox(METADATA, engine=engine)
    METADATA.create_all(engine)
    for last in count(1):
        ended = fork(engine, broker_url, outbox, last)
        if ended == 0:
            break
        assert ended == KILLED, f"step {last} ended with {ended}"
    broker = open_broker(broker_url)
    events = list(published(broker, broker.tail(10**9)))
    broker.close()
    with engine.connect() as connection:
        rows = list(connection.scalars(select(ORDER.c.name).order_by(ORDER.c.id)))
    assert events == rows, f"{events} are not {rows}"
    sys.stdout.write(f"{last} steps, {len(rows)} events\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
