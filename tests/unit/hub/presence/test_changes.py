"""Changes that a worker finds in the log when it begins."""

import random
from dataclasses import replace

import pytest

from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.presence import records
from flask_sse_hub.hub.presence.changes import PresenceChange
from flask_sse_hub.hub.presence.fold import Changes, PresenceFold
from flask_sse_hub.hub.presence.records import Said
from flask_sse_hub.testing import Clock

USERS, CHANNELS = ("ann", "bob", "eve"), ("room.1", "room.2")


class Notes:
    """A fold, and the changes of users and channels that it tells."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str, float]] = set()
        self.fold = PresenceFold(
            "own",
            is_member=lambda _: True,
            changes=Changes(
                heard=lambda: None,
                own=lambda _: None,
                came=lambda change: self._note("came", change),
                left=lambda change: self._note("left", change),
            ),
            clock=Clock(),
        )
        self.fold.restart()

    def _note(self, what: str, change: PresenceChange) -> None:
        if change.of_user:
            self.told.add((what, change.user, change.time))
        if change.of_channel:
            self.told.add((what, change.channel, change.time))


def walk(seed: int) -> list[Record]:
    """Return a log in which people come and leave, and change their descriptions."""
    chance = random.Random(seed)
    there: set[tuple[str, str]] = set()
    found: list[Record] = []
    for number in range(1, 31):
        user, channel = chance.choice(USERS), chance.choice(CHANNELS)
        said = Said(records.JOIN, channel, user, float(number))
        if (user, channel) not in there:
            there.add((user, channel))
            record = records.join("w", said)
        elif chance.random() < 0.3:
            record = records.update(said)
        else:
            there.remove((user, channel))
            record = records.leave("w", said)
        place = Cursor("e", number)
        found.append(replace(record, cursor=place, time=float(number)))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_a_worker_that_begins_finds_the_last_change_and_no_false_one(
    seed: int,
) -> None:
    """It has the newest values of the state, and only a part of the log."""
    log = walk(seed)
    live = Notes()
    live.fold.caught_up()
    for record in log:
        live.fold.take(record)
    tail = log[-5:]
    # Newer values of a key are in the tail, so the state has none of before.
    newer = {each.key for each in tail}
    values = {each.key: each for each in log[:-5] if each.key not in newer}
    state = [
        replace(each, addresses=each.addresses[:1])
        for each in values.values()
        if not each.deletes
    ]
    late = Notes()
    for record in state + tail:
        late.fold.take(record)
    late.fold.caught_up()
    assert late.told <= live.told
    last = {each for each in live.told if each[2] == log[-1].time}
    assert last <= late.told
