"""The search for streams: their order, their count, their way between workers."""

import json
from dataclasses import asdict, replace

import pytest

from flask_sse_hub import ClientStats
from flask_sse_hub.metrics.colleagues import _MAX_QUESTION_BYTES
from flask_sse_hub.metrics.machine import Machine
from flask_sse_hub.metrics.streams import ORDERS, FoundStreams, StreamQuery
from tests.kit.hand import HandHub
from tests.unit.metrics.test_machine import Told, figures


def stream(name: str, **fields: object) -> ClientStats:
    """A stream of a user; its id is made of the name."""
    made = ClientStats(
        id=f"client-{name}",
        user_id=name,
        channels=(),
        metadata={},
        age=1.0,
        events=0,
        bytes=0,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


STREAMS = [
    stream("bob", age=3.0, events=1, bytes=9, channels=("Room.1",)),
    stream("alice", age=1.0, events=5, bytes=1, lag=2.0, metadata={"page": "/inbox"}),
    stream("zoe", age=2.0, events=3, bytes=5, user_id=None),
]


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("oldest", "bob"),
        ("newest", "alice"),
        ("lag", "alice"),
        ("events", "alice"),
        ("bytes", "bob"),
        ("user", "alice"),
    ],
)
def test_each_order_begins_with_its_first(order: str, first: str) -> None:
    """A stream without a user is the last by user."""
    found = FoundStreams.among(STREAMS, StreamQuery(order=order, most=2), worker=0)
    assert found.streams[0].id == f"client-{first}"
    assert len(found.streams) == 2
    assert found.count == 3
    assert set(ORDERS) == {"oldest", "newest", "lag", "events", "bytes", "user"}


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 3), ("ALI", 1), ("room.", 1), ("inbox", 1), ("client-", 3), ("none", 0)],
)
def test_a_text_is_looked_for_in_all_that_names_a_stream(text: str, count: int) -> None:
    """Its case does not matter, and a missing user has no name."""
    found = FoundStreams.among(STREAMS, StreamQuery(text), worker=0)
    assert found.count == count


def test_streams_of_all_workers_are_one_list() -> None:
    """Each worker sends its first streams, and how many it has found."""
    hub = HandHub()
    hub.stream(user="carol")
    two = FoundStreams(1, 90, tuple(STREAMS[:2]))
    others = Told({1: two.to_json(), 4: b"{}", 5: b'{"streams": [{}]}'}, silent=(2,))
    ours = Machine(
        "log",
        own=lambda number, clients: figures(hub.hub, number, clients=clients),
        streams=hub.hub.client_stats,
        colleagues=others,
    )
    query = StreamQuery("é", order="user", most=2)
    found = ours.streams(replace(query, text=""))
    assert [(worker, each.user_id) for worker, each in found.streams] == [
        (1, "alice"),
        (1, "bob"),
    ]
    assert found.count == 91
    assert found.silent == (2, 4, 5)
    # A worker answers the question that another one asks.
    (question,) = others.asked
    answer = FoundStreams.from_json(ours._answer(question))
    assert answer.count == 1
    assert answer.streams[0].user_id == "carol"


def test_the_longest_question_is_read_by_other_workers() -> None:
    """They refuse longer lines."""
    longest = json.dumps({"streams": asdict(StreamQuery("😀" * 100, "oldest", 10_000))})
    assert len(longest) < _MAX_QUESTION_BYTES
