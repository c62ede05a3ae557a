"""The state of keys on every broker: the newest record of each address and key."""

import threading
from dataclasses import replace

import pytest

from flask_sse_hub import Event, StateFull
from flask_sse_hub.events.address import Address
from flask_sse_hub.events.record import Record
from tests.kit.hand import KEEP_ALL
from tests.unit.brokers.conftest import (
    BUSY,
    NEWS,
    QUIET,
    SHORT,
    MakeBroker,
    follow,
    record,
)


class TestState:
    def test_the_newest_record_of_each_address_and_key_is_kept(
        self, make_broker: MakeBroker
    ) -> None:
        """In the order of the log, and beyond history."""
        broker = make_broker(SHORT)
        for n, (to, key) in enumerate(
            [(NEWS, "a"), (NEWS, "b"), (QUIET, "a"), (NEWS, "a"), (QUIET, "c")]
        ):
            broker.publish(record(str(n), to=to, key=key))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        state = broker.state()
        assert [shown(each) for each in state.records] == [
            (NEWS, "b", "1"),
            (QUIET, "a", "2"),
            (NEWS, "a", "3"),
            (QUIET, "c", "4"),
        ]
        assert state.cursor == broker.head()
        assert {each.cursor.epoch for each in state.records} == {state.cursor.epoch}
        assert all(each.time > 1_600_000_000 for each in state.records)

    def test_an_event_to_several_addresses_is_the_state_of_each(
        self, make_broker: MakeBroker
    ) -> None:
        """Later, one of them may have a newer value."""
        broker = make_broker(KEEP_ALL)
        both = Record((NEWS, QUIET), Event("both"), key="k")
        broker.publish(both)
        broker.publish(record("newer", to=NEWS, key="k"))
        assert [shown(each) for each in broker.state().records] == [
            (QUIET, "k", "both"),
            (NEWS, "k", "newer"),
        ]
        assert [each.is_shared for each in broker.state().records] == [True, False]

    def test_a_delete_ends_the_state_of_a_key(self, make_broker: MakeBroker) -> None:
        """It travels in the log as an event. A key that is unknown is no error."""
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        broker.publish(record(to=NEWS, key="k"))
        broker.publish(record(to=NEWS, key="kept"))
        for _ in range(2):
            broker.publish(record("null", to=NEWS, key="k", deletes=True))
        assert [each.key for each in broker.state().records] == ["kept"]
        assert [(each.key, each.deletes) for each in follow(broker, start, 4)] == [
            ("k", False),
            ("kept", False),
            ("k", True),
            ("k", True),
        ]

    @pytest.mark.parametrize(
        "bounds", [{"state_keys": 3}, {"state_bytes": 3 * record().kept_size + 10}]
    )
    def test_a_full_state_refuses_further_keys(
        self, make_broker: MakeBroker, bounds: dict[str, int]
    ) -> None:
        """Nothing is appended, and known keys go on."""
        broker = make_broker(replace(KEEP_ALL, **bounds))
        for key in ("a", "b", "c"):
            broker.publish(record(to=NEWS, key=key))
        head = broker.head()
        with pytest.raises(StateFull, match="SSE_HUB_STATE_KEYS"):
            broker.publish(record(to=NEWS, key="d"))
        with pytest.raises(StateFull):
            broker.publish(Record((NEWS, QUIET), Event("x"), key="a"))
        assert broker.head() == head
        broker.publish(record("y", to=NEWS, key="a"))
        broker.publish(record(to=NEWS, key="b", deletes=True))
        broker.publish(record(to=NEWS, key="d"))
        assert [each.key for each in broker.state().records] == ["c", "a", "d"]

    def test_a_full_state_refuses_no_other_event(self, make_broker: MakeBroker) -> None:
        """Concurrent publishes are appended together, and judged alone."""
        broker = make_broker(replace(KEEP_ALL, state_keys=1))
        broker.publish(record(to=NEWS, key="a"))
        start = broker.head()
        refused: list[str] = []

        def publish(key: str | None) -> None:
            try:
                broker.publish(record(to=NEWS, key=key))
            except StateFull:
                refused.append(str(key))

        calls = [
            threading.Thread(target=publish, args=[each])
            for each in (None, "b", "a", "c", None) * 4
        ]
        for each in calls:
            each.start()
        for each in calls:
            each.join(10.0)
        assert sorted(refused) == ["b"] * 4 + ["c"] * 4
        assert len(follow(broker, start, 12)) == 12

    def test_a_repeated_publish_changes_no_state(self, make_broker: MakeBroker) -> None:
        """The second delivery of a webhook must not bring an old value back."""
        broker = make_broker(KEEP_ALL)
        old = record("old", to=NEWS, key="k", idempotency_key="1")
        broker.publish(old)
        broker.publish(record("new", to=NEWS, key="k"))
        broker.publish(old)
        assert [shown(each)[2] for each in broker.state().records] == ["new"]


def shown(record: Record) -> tuple[Address, str | None, str]:
    """Return the address, key and data of a record of the state."""
    (address,) = record.addresses
    assert isinstance(record.content, Event)
    return address, record.key, record.content.data
