"""History: what came after a cursor, or that it does not reach back so far."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.hub.delivery.history import (
    Cursor,
    Disconnect,
    Frame,
    History,
    Record,
    Retention,
)
from flask_sse_hub.testing import Clock
from tests.hand import KEEP_ALL

EPOCH = "e"
NEWS = address.channel("news")
SPORT = address.channel("sport")


def record(offset: int, *addresses: Address, time: float = 0) -> Record:
    return Record(
        addresses=addresses or (BROADCAST,),
        content=Event("x"),
        cursor=Cursor(EPOCH, offset),
        time=time,
    )


def history_of(
    *records: Record, retention: Retention = KEEP_ALL, clock: Clock | None = None
) -> History:
    history = History(retention, clock=clock or Clock(0))
    history.restart(Cursor(EPOCH, 0))
    for each in records:
        history.append([Frame.of(each)], each.cursor)
    return history


def read(
    history: History,
    after: int,
    *addresses: Address,
    upto: int | None = None,
    max_bytes: int = 1_000_000,
    client_id: str = "me",
) -> tuple[list[int], int]:
    """Return the offsets of what is read, and of the cursor to read on from."""
    reading = history.read(
        Cursor(EPOCH, after),
        upto=history.cursor if upto is None else Cursor(EPOCH, upto),
        addresses=addresses or (BROADCAST,),
        client_id=client_id,
        max_bytes=max_bytes,
    )
    offsets = [
        int(block.split(b"\n")[0].removeprefix(b"id: e-")) for block in reading.blocks
    ]
    return offsets, reading.cursor.offset


class TestCursor:
    def test_its_text_is_the_event_id(self) -> None:
        """What is written as an id is read back as the same cursor."""
        assert Cursor.parse(str(Cursor("a1", 12))) == Cursor("a1", 12)

    @pytest.mark.parametrize(
        "text",
        [
            *["", "-", "a-", "-1", "a-1-2", "a--1", "a:1", "a-1.0", "A-1", "é-1"],
            *["a-01", "a-1 ", " a-1", "a-1\n", "a-²", "a-٣"],
            *["a-" + "9" * 19, "b" * 33 + "-1"],
        ],
    )
    def test_a_malformed_id_is_no_cursor(self, text: str) -> None:
        """Anything that no hub ever wrote is told apart, never guessed at."""
        assert Cursor.parse(text) is None


class TestRead:
    def test_frames_come_in_order_after_the_cursor(self) -> None:
        """What was seen is not repeated, what was not is not left out."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 2) == ([3, 4, 5], 5)

    def test_several_addresses_are_merged_in_the_order_of_the_log(self) -> None:
        """A client that listens to two channels sees one order."""
        history = history_of(
            record(1, NEWS), record(2, SPORT), record(3, NEWS), record(4, SPORT)
        )
        assert read(history, 0, NEWS, SPORT) == ([1, 2, 3, 4], 4)

    def test_a_frame_for_two_of_its_addresses_comes_once(self) -> None:
        """The union is addressed, so nothing is doubled."""
        history = history_of(record(1, NEWS, SPORT), record(2, SPORT))
        assert read(history, 0, NEWS, SPORT) == ([1, 2], 2)

    def test_what_is_for_others_only_moves_the_cursor(self) -> None:
        """A quiet client keeps up with a busy log."""
        history = history_of(record(1, SPORT), record(2, SPORT))
        assert read(history, 0, NEWS) == ([], 2)

    def test_an_excluded_client_gets_nothing_of_it(self) -> None:
        """The sender does not hear itself."""
        history = history_of(replace(record(1), exclude=("me",)), record(2))
        assert read(history, 0) == ([2], 2)
        assert read(history, 0, client_id="other") == ([1, 2], 2)

    def test_it_stops_at_the_position(self) -> None:
        """What has not been fanned out yet is read later."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 1, upto=3) == ([2, 3], 3)

    def test_a_client_beyond_the_position_stays_where_it_is(self) -> None:
        """Reading never moves a cursor back."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 4, upto=3) == ([], 4)

    def test_a_chunk_ends_before_the_frame_that_is_too_much(self) -> None:
        """The next read goes on with exactly the frame that was left out.

        Its cursor is that of a record: where offsets are not dense, another one could
        not be told from that of a record that was lost.
        """
        history = history_of(record(1), record(2, NEWS), record(3), record(4))
        first, cursor = read(history, 0, max_bytes=1)
        assert first == [1]
        assert cursor == 1
        assert read(history, cursor) == ([3, 4], 4)

    def test_only_what_was_seen_is_known(self) -> None:
        """An id between two frames may be of a record that the log has lost."""
        history = history_of(record(10), record(20), record(30))
        known = [n for n in range(35) if history.knows(Cursor(EPOCH, n))]
        assert known == [0, 10, 20, 30]
        assert not history.knows(Cursor("another", 20))

    def test_what_was_appended_since_a_time(self) -> None:
        """Where older records were forgotten, it cannot be told for certain."""
        history = history_of(record(1, time=10), record(2, time=20))
        assert history.before(15) == Cursor(EPOCH, 1)
        assert history.before(25) == Cursor(EPOCH, 2)
        assert history.before(5) == Cursor(EPOCH, 0)
        history.restart(Cursor(EPOCH, 7))
        assert history.before(5) == Cursor(EPOCH, 7)
        history.append([Frame.of(record(8, time=30))], Cursor(EPOCH, 8))
        assert history.before(25) is None

    def test_control_records_are_not_written_to_anybody(self) -> None:
        """They end streams; they are no events."""
        control = replace(record(1), content=Disconnect("disconnected"))
        assert read(history_of(control, record(2)), 0) == ([2], 2)

    def test_control_records_are_found_by_address(self) -> None:
        """A client that was let in late finds what concerns it."""
        control = replace(record(2, NEWS), content=Disconnect("disconnected"))
        history = history_of(record(1, NEWS), control)
        assert list(history.disconnects(0, [NEWS])) == [Disconnect("disconnected")]
        assert list(history.disconnects(2, [NEWS])) == []
        assert list(history.disconnects(0, [SPORT])) == []

    @given(
        log=st.lists(
            st.sets(st.sampled_from([NEWS, SPORT, BROADCAST]), min_size=1), max_size=30
        ),
        listens=st.sets(st.sampled_from([NEWS, SPORT, BROADCAST]), min_size=1),
        after=st.integers(0, 30),
        max_bytes=st.integers(1, 200),
    )
    def test_read_on_from_chunk_to_chunk_is_the_clients_part_of_the_log(
        self,
        log: list[set[Address]],
        listens: set[Address],
        after: int,
        max_bytes: int,
    ) -> None:
        """In whatever chunks: nothing lost, nothing twice, nothing out of order."""
        history = history_of(*(record(n, *to) for n, to in enumerate(log, 1)))
        got: list[int] = []
        cursor = after
        while cursor < len(log):
            offsets, cursor = read(history, cursor, *listens, max_bytes=max_bytes)
            got += offsets
        assert got == [n for n, to in enumerate(log, 1) if to & listens and n > after]


class TestRetention:
    def test_a_new_history_covers_only_what_comes(self) -> None:
        """It begins after a cursor, and knows nothing before it."""
        history = history_of()
        history.restart(Cursor(EPOCH, 10))
        assert history.covers(Cursor(EPOCH, 10))
        assert not history.covers(Cursor(EPOCH, 9))

    def test_a_cursor_of_another_epoch_is_not_covered(self) -> None:
        """Offsets of two logs have no order."""
        assert not history_of(record(1)).covers(Cursor("other", 1))

    @pytest.mark.parametrize(
        "retention",
        [
            Retention(events=2, seconds=1e9, bytes=10**9),
            Retention(events=100, seconds=15.0, bytes=10**9),
            Retention(events=100, seconds=1e9, bytes=2 * Frame.of(record(1)).size),
        ],
        ids=["events", "seconds", "bytes"],
    )
    def test_whichever_bound_is_reached_first_forgets(
        self, retention: Retention
    ) -> None:
        """Count, age and bytes each bound the memory by themselves."""
        clock = Clock(0)
        history = history_of(
            *(record(n, time=n * 10.0) for n in range(1, 5)),
            retention=retention,
            clock=clock,
        )
        clock.advance(40.0)
        history.trim(upto=4)
        assert len(history) == 2
        assert history.floor == 2
        assert history.covers(Cursor(EPOCH, 2))
        assert not history.covers(Cursor(EPOCH, 1))
        assert read(history, 2) == ([3, 4], 4)

    def test_nothing_is_forgotten_before_its_fan_out(self) -> None:
        """However full it is, what nobody got yet stays."""
        history = history_of(
            *(record(n) for n in range(1, 5)),
            retention=Retention(events=1, seconds=1e9, bytes=10**9),
        )
        history.trim(upto=2)
        assert read(history, 2) == ([3, 4], 4)

    def test_bytes_are_given_back(self) -> None:
        """A history that forgot everything counts nothing."""
        history = history_of(
            record(1, NEWS),
            record(2, SPORT),
            retention=Retention(events=100, seconds=1.0, bytes=10**9),
            clock=Clock(100),
        )
        assert history.bytes > 0
        history.trim(upto=2)
        assert (len(history), history.bytes) == (0, 0)
        assert history.cursor == Cursor(EPOCH, 2)

    def test_it_says_when_too_much_waits_for_its_fan_out(self) -> None:
        """The follower holds back then, so that the memory stays bounded."""
        small = Retention(events=100, seconds=1e9, bytes=400)
        assert not history_of(record(1), retention=small).overfull
        assert history_of(*map(record, range(1, 5)), retention=small).overfull
