"""The rule of fair history: only a trimmed event of one's own is a loss."""

from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub.events import address
from flask_sse_hub.events.address import Address
from flask_sse_hub.events.channel_patterns import is_heard
from flask_sse_hub.events.trimming import TrimNotes

NAMES = [address.channel(name) for name in ("a", "b", "c", "c.d", "c.d.e")]
ASKED = [*NAMES, address.channel("c.*"), address.channel("c.d.*")]


@given(
    log=st.lists(st.sets(st.sampled_from(NAMES)), max_size=30),
    most=st.integers(1, 8),
    after=st.integers(0, 30),
    mine=st.sets(st.sampled_from(ASKED), min_size=1),
)
def test_no_loss_is_overlooked(
    log: list[set[Address]], most: int, after: int, mine: set[Address]
) -> None:
    """With any bound; and without one, nothing is taken for a loss that is none."""
    notes = TrimNotes(most)
    for offset, addresses in enumerate(log, 1):
        notes.add(offset, sorted(addresses))
    lost = any(is_heard(one, mine) for each in log[after:] for one in each)
    spared = notes.spare(after, sorted(mine))
    assert not (lost and spared)
    if len(ASKED) <= most:
        assert spared is not lost


def test_a_busy_address_keeps_its_one_note() -> None:
    """Ten thousand trimmed events of one channel push no other note out."""
    notes = TrimNotes(2)
    notes.add(1, NAMES[:1])
    for offset in range(2, 10_000):
        notes.add(offset, NAMES[1:2])
    assert notes.spare(1, NAMES[:1])
    assert not notes.spare(0, NAMES[:1])


def test_nothing_is_known_before_a_restart() -> None:
    """The records up to that offset may have had any address."""
    notes = TrimNotes()
    notes.restart(7)
    assert not notes.spare(6, NAMES)
    assert notes.spare(7, NAMES)
