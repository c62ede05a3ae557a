"""History: reading the events after a cursor, and detecting gaps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.hub.delivery.history import History
from flask_sse_hub.hub.delivery.stretch import Frame
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL

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


def control(offset: int, *addresses: Address, time: float = 0) -> Record:
    return replace(
        record(offset, *addresses, time=time), content=Disconnect("disconnected")
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
    """Return the offsets of the frames read and of the cursor to read on from."""
    reading = history.read(
        Cursor(EPOCH, after),
        upto=history.cursor if upto is None else Cursor(EPOCH, upto),
        addresses=addresses or (BROADCAST,),
        client_id=client_id,
        max_bytes=max_bytes,
    )
    assert not isinstance(reading, GapReason)
    offsets = [
        int(block.split(b"\n")[0].removeprefix(b"id: e-")) for block in reading.blocks
    ]
    return offsets, reading.cursor.offset


class TestCursor:
    def test_its_text_is_the_event_id(self) -> None:
        """An event id written from a cursor is read back as the same cursor."""
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
        """An id that no hub ever wrote is rejected and never guessed at."""
        assert Cursor.parse(text) is None


class TestRead:
    def test_frames_come_in_order_after_the_cursor(self) -> None:
        """Frames before the cursor are not repeated, and none after it is left out."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 2) == ([3, 4, 5], 5)

    def test_several_addresses_are_merged_in_the_order_of_the_log(self) -> None:
        """A client that listens to two channels sees one order."""
        history = history_of(
            record(1, NEWS), record(2, SPORT), record(3, NEWS), record(4, SPORT)
        )
        assert read(history, 0, NEWS, SPORT) == ([1, 2, 3, 4], 4)

    def test_a_frame_for_two_of_its_addresses_comes_once(self) -> None:
        """The addresses are read as a union, so no frame comes twice."""
        history = history_of(record(1, NEWS, SPORT), record(2, SPORT))
        assert read(history, 0, NEWS, SPORT) == ([1, 2], 2)

    def test_frames_for_other_clients_only_move_the_cursor(self) -> None:
        """A quiet client keeps up with a busy log."""
        history = history_of(record(1, SPORT), record(2, SPORT))
        assert read(history, 0, NEWS) == ([], 2)

    def test_an_excluded_client_does_not_receive_the_frame(self) -> None:
        """The sender does not receive its own event."""
        history = history_of(replace(record(1), exclude=("me",)), record(2))
        assert read(history, 0) == ([2], 2)
        assert read(history, 0, client_id="other") == ([1, 2], 2)

    def test_reading_stops_at_the_position(self) -> None:
        """Frames that have not been fanned out yet are read later."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 1, upto=3) == ([2, 3], 3)

    def test_a_client_beyond_the_position_stays_where_it_is(self) -> None:
        """Reading never moves a cursor back."""
        history = history_of(*(record(n) for n in range(1, 6)))
        assert read(history, 4, upto=3) == ([], 4)

    def test_a_chunk_ends_before_the_frame_that_exceeds_it(self) -> None:
        """The next read goes on with exactly the frame that was left out.

        The returned cursor is that of a record. Where offsets are not dense, any other
        cursor could not be told from the cursor of a record that was lost.
        """
        history = history_of(record(1), record(2, NEWS), record(3), record(4))
        first, cursor = read(history, 0, max_bytes=1)
        assert first == [1]
        assert cursor == 1
        assert read(history, cursor) == ([3, 4], 4)

    def test_only_cursors_of_seen_records_are_known(self) -> None:
        """An id between two frames may belong to a record that the log has lost."""
        history = history_of(record(10), record(20), record(30))
        known = [n for n in range(35) if history.knows(Cursor(EPOCH, n))]
        assert known == [0, 10, 20, 30]
        assert not history.knows(Cursor("another", 20))

    def test_the_cursor_before_a_time(self) -> None:
        """Nothing is known of records before the first one that was read: None."""
        history = history_of(record(1, time=10), record(2, time=20))
        assert history.before(15) == Cursor(EPOCH, 1)
        assert history.before(25) == Cursor(EPOCH, 2)
        assert history.before(5) == Cursor(EPOCH, 0)
        history.restart(Cursor(EPOCH, 7))
        assert history.before(5) is None
        history.append([Frame.of(record(8, time=30))], Cursor(EPOCH, 8))
        assert history.before(25) is None
        assert history.before(31) == Cursor(EPOCH, 8)

    @pytest.mark.parametrize(
        "retention",
        [
            Retention(events=1, seconds=1e9, bytes=10**9),
            # The newest frame alone is larger than the memory.
            Retention(events=9, seconds=1e9, bytes=1),
        ],
        ids=["events", "bytes"],
    )
    def test_a_forgotten_record_counts_by_its_time(self, retention: Retention) -> None:
        """The cursor is unknown only if a record since that time was forgotten."""
        history = history_of(
            record(1, time=10), record(2, time=20), retention=retention
        )
        history.trim(upto=2)
        forgotten = 1 if len(history) else 2
        newest = forgotten * 10
        assert history.before(newest + 1) == Cursor(EPOCH, forgotten)
        assert history.before(newest) is None
        assert history.before(5) is None

    def test_control_records_are_not_written_to_clients(self) -> None:
        """Control records end streams; they are not events."""
        assert read(history_of(control(1), record(2)), 0) == ([2], 2)

    def test_control_records_are_found_by_address(self) -> None:
        """A client that was admitted late finds the records for its addresses."""
        history = history_of(record(1, NEWS), control(2, NEWS))
        assert list(history.disconnects(0, [NEWS])) == [Disconnect("disconnected")]
        assert list(history.disconnects(2, [NEWS])) == []
        assert list(history.disconnects(0, [SPORT])) == []

    def test_control_records_are_remembered_apart_from_events(self) -> None:
        """A busy log forgets its events early, and knows of its logouts still."""
        history = history_of(
            control(1, NEWS),
            *(record(n, time=n) for n in range(2, 7)),
            control(7, SPORT),
            retention=Retention(events=2, seconds=1e9, bytes=1),
        )
        history.trim(upto=7)
        start = Cursor(EPOCH, 0)
        assert not history.covers(start, [BROADCAST])
        assert history.covers_control(start)
        assert not history.covers_control(Cursor("another", 9))
        assert len(list(history.disconnects(0, [NEWS, SPORT]))) == 2

    def test_control_records_push_out_no_event(self) -> None:
        """A worker's memory holds its events still after many logouts."""
        history = history_of(
            record(1, NEWS),
            *(control(n, SPORT) for n in range(2, 30)),
            record(30, NEWS),
            retention=Retention(events=2, seconds=1e9, bytes=10**9),
        )
        history.trim(upto=30)
        assert history.covers(Cursor(EPOCH, 0), [NEWS])
        assert read(history, 0, NEWS) == ([1, 30], 30)
        assert history.knows(Cursor(EPOCH, 15))

    @pytest.mark.parametrize("bound", ["count", "age", "bytes"])
    def test_control_records_are_bounded_too(
        self, bound: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest one is forgotten first, and the floor says so."""
        module = "flask_sse_hub.hub.delivery.history"
        controls = [control(n, NEWS, time=n) for n in (2, 4, 6)]
        if bound == "count":
            monkeypatch.setattr(f"{module}._MAX_CONTROL_RECORDS", 2)
        elif bound == "bytes":
            size = Frame.of(controls[0]).size
            monkeypatch.setattr(f"{module}._MAX_CONTROL_BYTES", 2 * size)
        history = history_of(
            *controls,
            retention=Retention(events=1, seconds=10.0, bytes=10**9),
            clock=Clock(13.0 if bound == "age" else 6.0),
        )
        history.trim(upto=6)
        assert not history.covers_control(Cursor(EPOCH, 1))
        assert history.covers_control(Cursor(EPOCH, 2))
        assert len(list(history.disconnects(0, [NEWS]))) == 2
        assert history.before_control(2) is None
        assert history.before_control(3) == Cursor(EPOCH, 2)

    def test_the_floor_of_control_records_is_the_start(self) -> None:
        """A worker knows of no logout before the tail that it has read."""
        history = history_of()
        history.restart(Cursor(EPOCH, 7))
        assert history.before_control(5) is None
        history.append([Frame.of(record(8, time=30))], Cursor(EPOCH, 8))
        assert history.covers_control(Cursor(EPOCH, 7))
        assert not history.covers_control(Cursor(EPOCH, 6))
        assert history.before_control(30) is None
        assert history.before_control(31) == Cursor(EPOCH, 7)

    def test_short_lived_events_are_remembered_apart(self) -> None:
        """They push out no event and are read in order with the others."""
        clock = Clock(0)
        history = history_of(
            *(record(n, NEWS) for n in (1, 4, 7)),
            retention=Retention(events=3, seconds=10.0, bytes=10**9),
            clock=clock,
        )
        short = [replace(record(n, NEWS), ttl=float(n)) for n in (8, 9)]
        history.append(map(Frame.of, short), Cursor(EPOCH, 9))
        history.trim(upto=9)
        assert read(history, 0, NEWS) == ([1, 4, 7, 8, 9], 9)
        clock.advance(8.0)
        assert read(history, 0, NEWS) == ([1, 4, 7, 9], 9)
        assert history.concerns([NEWS], Cursor(EPOCH, 7), upto=Cursor(EPOCH, 9))
        assert not history.concerns([NEWS], Cursor(EPOCH, 7), upto=Cursor(EPOCH, 8))
        history.trim(upto=9)
        assert len(history) == 4
        assert history.covers(Cursor(EPOCH, 0), [NEWS])

    @pytest.mark.parametrize("ttl", [0.0, 60.0])
    def test_a_short_lived_event_that_is_forgotten_early_is_not_covered(
        self, ttl: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The broker has to be asked, unless nobody may read it in any case."""
        module = "flask_sse_hub.hub.delivery.history"
        monkeypatch.setattr(f"{module}.SHORT_LIVED_RECORDS", 2)
        short = [replace(record(n, NEWS), ttl=ttl) for n in (1, 2, 3)]
        history = history_of(*short)
        history.trim(upto=3)
        assert history.covers(Cursor(EPOCH, 0), [NEWS]) is (ttl == 0)
        assert history.covers(Cursor(EPOCH, 1), [NEWS])
        assert history.covers(Cursor(EPOCH, 0), [SPORT])

    @given(
        log=st.lists(
            st.sets(st.sampled_from([NEWS, SPORT, BROADCAST]), min_size=1), max_size=30
        ),
        listens=st.sets(st.sampled_from([NEWS, SPORT, BROADCAST]), min_size=1),
        after=st.integers(0, 30),
        max_bytes=st.integers(1, 200),
    )
    def test_all_chunks_together_are_the_clients_part_of_the_log(
        self,
        log: list[set[Address]],
        listens: set[Address],
        after: int,
        max_bytes: int,
    ) -> None:
        """For chunks of any size, no event is lost, repeated or out of order."""
        history = history_of(*(record(n, *to) for n, to in enumerate(log, 1)))
        got: list[int] = []
        cursor = after
        while cursor < len(log):
            offsets, cursor = read(history, cursor, *listens, max_bytes=max_bytes)
            got += offsets
        assert got == [n for n, to in enumerate(log, 1) if to & listens and n > after]


class TestRetention:
    def test_a_new_history_covers_only_later_events(self) -> None:
        """The history begins after a cursor and knows nothing before it."""
        history = history_of()
        history.restart(Cursor(EPOCH, 10))
        assert history.covers(Cursor(EPOCH, 10), [BROADCAST])
        assert not history.covers(Cursor(EPOCH, 9), [BROADCAST])

    def test_a_busy_address_does_not_uncover_a_quiet_one(self) -> None:
        """Only a forgotten event of a client's own is missing for that client."""
        history = history_of(
            record(1, NEWS),
            control(2, NEWS),
            *(record(n, SPORT) for n in range(3, 9)),
            retention=Retention(events=2, seconds=1e9, bytes=10**9),
        )
        history.trim(upto=8)
        assert not history.covers(Cursor(EPOCH, 0), [BROADCAST, NEWS])
        assert history.covers(Cursor(EPOCH, 1), [BROADCAST, NEWS])
        assert not history.covers(Cursor(EPOCH, 1), [BROADCAST, NEWS, SPORT])
        assert read(history, 1, NEWS) == ([], 8)

    def test_nothing_is_known_of_records_before_the_start(self) -> None:
        """A worker has not read them."""
        history = history_of()
        history.restart(Cursor(EPOCH, 10))
        history.append([Frame.of(record(11, SPORT))], Cursor(EPOCH, 11))
        assert not history.covers(Cursor(EPOCH, 9), [NEWS])

    def test_a_cursor_of_another_epoch_is_not_covered(self) -> None:
        """Offsets of two logs cannot be compared."""
        assert not history_of(record(1)).covers(Cursor("other", 1), [BROADCAST])

    @pytest.mark.parametrize(
        "retention",
        [
            Retention(events=2, seconds=1e9, bytes=10**9),
            Retention(events=100, seconds=15.0, bytes=10**9),
            Retention(events=100, seconds=1e9, bytes=2 * Frame.of(record(1)).size),
        ],
        ids=["events", "seconds", "bytes"],
    )
    def test_the_first_bound_that_is_reached_forgets_events(
        self, retention: Retention
    ) -> None:
        """Count, age and bytes each bound the memory independently."""
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
        assert history.covers(Cursor(EPOCH, 2), [BROADCAST])
        assert not history.covers(Cursor(EPOCH, 1), [BROADCAST])
        assert read(history, 2) == ([3, 4], 4)

    def test_nothing_is_forgotten_before_its_fan_out(self) -> None:
        """Events that were not fanned out yet stay, however full the history is."""
        history = history_of(
            *(record(n) for n in range(1, 5)),
            retention=Retention(events=1, seconds=1e9, bytes=10**9),
        )
        history.trim(upto=2)
        assert read(history, 2) == ([3, 4], 4)

    def test_forgotten_events_free_their_bytes(self) -> None:
        """A history that forgot every event counts zero bytes."""
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

    def test_a_history_reports_when_too_much_waits_for_fan_out(self) -> None:
        """The follower then pauses, so that the memory stays bounded."""
        small = Retention(events=100, seconds=1e9, bytes=400)
        assert not history_of(record(1), retention=small).overfull
        assert history_of(*map(record, range(1, 5)), retention=small).overfull
