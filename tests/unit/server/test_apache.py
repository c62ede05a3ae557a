"""Apache: its limit for requests, asked in the program that runs Python."""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub.server.apache import request_workers

MAX_THREADS, MAX_DAEMONS = 6, 12


def mpm(answers: dict[int, int]) -> Callable[[Any], Any]:
    """Return a stand-in for the program of Apache."""

    def query(number: int, result: Any) -> int:
        if number not in answers:
            return 1
        result._obj.value = answers[number]
        return 0

    return lambda _: SimpleNamespace(ap_mpm_query=query)


@pytest.mark.parametrize(
    ("answers", "workers"),
    [
        ({MAX_DAEMONS: 6, MAX_THREADS: 25}, 150),
        ({MAX_DAEMONS: 150, MAX_THREADS: 0}, 150),
        ({MAX_DAEMONS: 150}, 150),
        ({MAX_DAEMONS: 0, MAX_THREADS: 25}, None),
        ({}, None),
    ],
    ids=["event", "prefork", "prefork, no answer", "no process", "no answers"],
)
def test_the_workers_of_all_processes_are_counted(
    answers: dict[int, int], workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MaxRequestWorkers is their sum. The prefork module has no threads."""
    monkeypatch.setattr(ctypes, "CDLL", mpm(answers))
    assert request_workers() == workers


def test_other_programs_have_no_workers_of_apache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor has Windows a program without a name."""
    assert request_workers() is None

    def refuse(_: object) -> None:
        raise TypeError("bad argument type")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert request_workers() is None
