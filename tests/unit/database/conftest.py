"""Databases for the tests of this folder."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.database.uncommitted import Destination
from flask_sse_hub.events.record import Record

#: A table of the app.
METADATA = MetaData()
THING = Table(
    "thing",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(50), unique=True),
)


class Log:
    """The place to which events go: a list, which may be away."""

    def __init__(self) -> None:
        self.data: list[str] = []
        self.lost: list[str] = []
        self.away = False
        self._numbers = count(1)

    def append(self, record: Record) -> str:
        if self.away:
            raise BrokerUnavailable("the broker is away")
        assert isinstance(record.content, Event)
        self.data.append(record.content.data)
        return f"log-{next(self._numbers)}"

    @property
    def destination(self) -> Destination:
        def failed(record: Record, _: BaseException) -> None:
            assert isinstance(record.content, Event)
            self.lost.append(record.content.data)

        return Destination(self.append, failed)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()
