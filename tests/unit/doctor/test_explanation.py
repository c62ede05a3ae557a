"""The fate of an event in each stream of a user."""

from dataclasses import replace

import pytest

from flask_sse_hub import Event
from flask_sse_hub.doctor.explanation import conclusion, unknown, verdicts
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.clients.journal import StreamLife
from flask_sse_hub.metrics.lives import FoundLives

EVENT = Record(
    (address.channel("news"),), Event("hi"), cursor=Cursor("log", 5), time=100.0
)
LIFE = StreamLife(
    id="a",
    user_id="42",
    addresses=EVENT.addresses,
    opened=50.0,
    begun="log-2",
    last="log-9",
)


@pytest.mark.parametrize(
    ("life", "outcome", "answer"),
    [
        (LIFE, "written", "was written"),
        (replace(LIFE, reason="stalled", ended=200.0), "written", "was written"),
        (replace(LIFE, opened=150.0), "written", "was written"),
        (replace(LIFE, last="log-4", lag=3.0), "waiting", "waits"),
        (replace(LIFE, last="log-4", ended=90.0, reason="age"), "ended", "no stream"),
        (replace(LIFE, begun="log-5"), "not_open", "no stream"),
        (replace(LIFE, begun="log-7", reset="expired"), "reset", "load anew"),
        (replace(LIFE, begun="log-5", resumed=True), "read", "had received"),
        (replace(LIFE, addresses=()), "not_listening", "listened to"),
        (replace(LIFE, id="b"), "excluded", "listened to"),
        (replace(LIFE, begun="old-2", last="old-9"), "other_log", "no stream"),
        (replace(LIFE, begun="-0"), "other_log", "no stream"),
    ],
)
def test_each_stream_has_its_reason(
    life: StreamLife, outcome: str, answer: str
) -> None:
    """The conclusion is the best of all streams."""
    record = replace(EVENT, exclude=("b",))
    found = verdicts(record, [FoundLives(0, 0.0, (life,))])
    assert [each.outcome for each in found] == [outcome]
    assert answer in conclusion(found, addressed=True, user="42", record=record)


@pytest.mark.parametrize(
    ("found", "more", "doubt"),
    [
        ([FoundLives(0, 99.0, ())], {}, ""),
        ([], {}, "no worker answers"),
        ([FoundLives(0, 101.0, ())], {}, "began later"),
        ([FoundLives(0, 99.0, (LIFE,) * 200)], {}, "too many"),
        ([FoundLives(0, 99.0, ())], {"silent": True}, "gave no answer"),
        ([FoundLives(0, 99.0, ())], {"elsewhere": True}, "other machines"),
    ],
)
def test_a_conclusion_says_what_it_cannot_know(
    found: list[FoundLives], more: dict[str, bool], doubt: str
) -> None:
    """Journals end with their workers, and stay on their machines."""
    asked = {"silent": False, "elsewhere": False, **more}
    doubts = unknown(EVENT, found, **asked)
    told = conclusion([], addressed=True, user="42", record=EVENT, doubts=doubts)
    assert "no stream of user 42 was open" in told
    assert ("as far as is known here" in told, doubt in told) == (bool(doubt), True)


def test_an_answer_of_another_version_is_refused() -> None:
    """During an upgrade a worker may have another one, and counts as silent."""
    whole = FoundLives(1, 2.0, (LIFE,))
    assert FoundLives.from_json(whole.to_json()) == whole
    for data in (b"", b"[]", b"{}", b'{"lives": [{}]}'):
        with pytest.raises(ValueError, match=r"version|Expecting"):
            FoundLives.from_json(data)


def test_an_answer_says_whether_it_is_cut() -> None:
    """A page that reconnects each second has more streams than an answer."""
    assert FoundLives.among(0.0, [LIFE] * 300, worker=0).is_cut
    assert not FoundLives.among(0.0, [LIFE] * 20, worker=0).is_cut
