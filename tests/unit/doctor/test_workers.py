"""The faults of workers, by their answers and their facts."""

from collections.abc import Iterator
from typing import Any

import pytest

from flask_sse_hub.doctor.findings import Finding
from flask_sse_hub.doctor.workers import (
    Met,
    answers,
    first_of_each,
    forwarding,
    problems,
    standing,
)

FACTS: dict[str, Any] = {
    "pid": 7,
    "clock": 0.1,
    "epoch": "abc",
    "problems": [],
    "places": 1000,
    "places_setting": "worker_connections",
    "takeover": True,
    "max_requests": 0,
    "max_files": 20_000,
    "max_clients": 10_000,
    "protocol": "HTTP/1.1",
    "address": "8.8.8.8",
    "forwarded_for": None,
    "proxied": False,
    "proxy_fix": False,
    "scheme": "https",
}


def codes(found: Iterator[Finding]) -> list[str]:
    return [each.code for each in found]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"clock": 3600.0}, "clock"),
        ({"clock": -3600.0}, "clock"),
        ({"max_files": 200}, "descriptors"),
        ({"takeover": False}, "worker-connections"),
        ({"max_requests": 500}, "max-requests"),
        ({"epoch": "another"}, "several-logs"),
        ({"epoch": ""}, "broker-away"),
        ({"problems": ["sync workers"]}, "server"),
    ],
)
def test_each_fact_has_its_fault(changed: dict[str, Any], code: str) -> None:
    """A second worker with the same fault is not named again."""
    facts = [{**FACTS, **changed}, {**FACTS, **changed, "pid": 8}]
    assert [e.code for e in first_of_each(problems(facts, epochs={"abc"}))] == [code]


def test_good_workers_have_no_fault() -> None:
    """A limit that is unknown is no fault."""
    facts = [FACTS, {**FACTS, "max_files": None, "places": None, "takeover": False}]
    assert codes(problems(facts, epochs={"abc"})) == []
    assert codes(forwarding(FACTS, public="https://a", proxied=True)) == []


def test_a_log_that_was_replaced_is_not_taken_for_two() -> None:
    """Workers notice it one after the other."""
    facts = [FACTS, {**FACTS, "epoch": "new"}]
    assert codes(problems(facts, epochs={"abc", "new"})) == ["log-replaced"]


def test_workers_that_stand_still_are_named() -> None:
    """One that is behind for a moment is none of them."""
    (deaf,) = standing({7: 0.5, 8: 30.0}, silent=[])
    assert (deaf.code, "worker 8" in deaf.text) == ("deaf", True)
    (silent,) = standing({}, silent=[3])
    assert (silent.code, "number 3" in silent.text) == ("silent", True)


def test_workers_with_two_logs_are_told_from_a_shell_with_another() -> None:
    """The first is the worse one: events are lost for some clients."""
    two = [FACTS, {**FACTS, "epoch": "other"}]
    (found,) = problems(two, epochs={"abc"})
    assert "2 different logs" in found.text


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({200: 12}, []),
        ({200: 6, 401: 6}, ["secret-key"]),
        ({401: 12}, ["secret-key"]),
        ({301: 12}, ["redirect"]),
        ({404: 12}, ["not-this-app"]),
        ({0: 12}, ["not-this-app"]),
        ({502: 3, 200: 9}, ["status"]),
        ({403: 12}, ["status"]),
    ],
)
def test_each_status_has_its_fault(
    statuses: dict[int, int], expected: list[str]
) -> None:
    """A key that differs between workers shows now and then."""
    met = Met([], statuses, location="https://elsewhere")
    assert codes(answers(met, "https://a")) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"protocol": "HTTP/1.0"}, ["http-1.0"]),
        ({"forwarded_for": "192.0.2.1", "address": "10.0.0.1"}, ["proxy-fix"]),
        ({"forwarded_for": "192.0.2.1", "proxy_fix": True}, []),
        ({"address": "10.0.0.1"}, ["proxy-fix"]),
        ({"address": None}, []),
        ({"scheme": "http"}, ["scheme"]),
    ],
)
def test_the_way_through_a_proxy(changed: dict[str, Any], expected: list[str]) -> None:
    """The worker tells how the request came to it."""
    found = forwarding({**FACTS, **changed}, public="https://a", proxied=True)
    assert codes(found) == expected
