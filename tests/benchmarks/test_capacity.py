"""docs/capacity.md and ``flask sse plan`` have the constants that were measured."""

import shlex
from dataclasses import fields

from benchmarks.capacity import (
    CLIENTS,
    EXAMPLE,
    PAGE,
    ROWS,
    SIZES,
    constants_of,
    written,
)
from flask_sse_hub.doctor.capacity import Constants
from tests.documented.samples import sample

SHOWN = sample("docs/capacity.md", "console")


def test_the_page_has_the_constants_of_the_package() -> None:
    """And the output of its command, which ``benchmarks.capacity --write`` writes."""
    assert written(PAGE.read_text()) == PAGE.read_text()
    assert shlex.split(SHOWN.splitlines()[0])[1:4] == ["flask", "sse", "plan"]
    assert SHOWN.splitlines()[0].endswith(EXAMPLE)


def test_every_constant_has_a_row() -> None:
    """Its words and its unit."""
    assert list(ROWS) == [field.name for field in fields(Constants)]


def test_costs_of_an_event_are_told_apart() -> None:
    """An event costs a worker, each stream, and each KiB of each stream."""
    each, each_kib, event = 10e-6, 2e-6, 300e-6
    names = [
        "worker",
        "view",
        "connect",
        "streams",
        "wire",
        "publish",
        "ping",
        "ping_size",
    ]
    names += ["in_memory", "in_sqlite", "in_redis", "from_redis"]
    low = dict.fromkeys(names, 1000.0)

    def cost(streams: int, size: int) -> float:
        return event + streams * (each + each_kib * size / 1024)

    found = constants_of(
        low
        | {
            "event_to_one": cost(1, SIZES[0]),
            "event_to_all": cost(CLIENTS, SIZES[0]),
            "large_event_to_all": cost(CLIENTS, SIZES[1]),
            "redis_one": 30e-6 * 1e6,
            "redis_many": 70e-6 * 1e6,
        }
    )
    assert (found.event_us, found.delivery_us, found.delivery_kib_us) == (300, 10, 2)
    assert (found.redis_us, found.redis_worker_us) == (25, 5)
