"""A few cases of every target; ``make fuzz`` tries many."""

import hmac
import re
from typing import Any

import pytest
from hypothesis import strategies as st
from itsdangerous import Signer

from flask_sse_hub.auth import client_ids
from flask_sse_hub.brokers import MemoryBroker, codec
from flask_sse_hub.events import address, event
from flask_sse_hub.web import publish_api
from tests.fuzz.engine import Hang, Target, checking, run
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_case_breaks_a_promise(target: Target) -> None:
    """The cases have more than one outcome, so the promise is put to the test."""
    outcome = run(target, cases=100, seed=1)
    assert outcome.finding is None, outcome.finding
    assert outcome.cases >= 100
    assert len(outcome.outcomes) > 1


#: A fault for each target: the object, the attribute, and its wrong value.
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "wire encoder": (event, "_NOT_IN_NAMES", re.compile("\0")),
    "broker records": (codec, "checked_name", lambda name, what: f"{name}!"),
    "webhook signatures": (hmac, "compare_digest", lambda a, b: a[:9] == b[:9]),
    "Last-Event-ID": (MemoryBroker, "_floor", lambda broker: 0),
    "names": (address, "_ADDRESS_OF", {**address._ADDRESS_OF, "user": address.channel}),
    "publish bodies": (publish_api, "_check_scope", lambda *args: None),
    "tickets": (Signer, "verify_signature", lambda *args: True),
    "client ids": (client_ids, "_binding", lambda identity: "anybody's"),
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_planted_fault_is_found(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, a run without findings would prove nothing."""
    monkeypatch.setattr(*FAULTS[target.name])
    assert run(target, cases=1000, seed=1).finding is not None


def test_a_finding_is_the_smallest_case() -> None:
    """The finding ends with the error and the case."""

    def check(number: int) -> str:
        if number >= 10:
            raise ValueError("too large")
        return "small"

    target = Target("numbers", st.integers(0), checking(check))
    finding = run(target, cases=1000, seed=1).finding
    assert finding is not None
    assert finding.endswith("ValueError: too large\ncase: 10")


def test_a_case_that_hangs_is_a_finding_at_once() -> None:
    """A hanging case is not made smaller, since each try would take as long."""
    tried = []

    def hang(number: int) -> str:
        tried.append(number)
        raise Hang("not done")

    finding = run(Target("numbers", st.integers(), checking(hang)), cases=9, seed=1)
    assert finding.finding is not None
    assert len(tried) == 1
