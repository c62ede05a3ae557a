"""Names: an event reaches exactly the clients that its names mean, or is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from hypothesis import strategies as st

from flask_sse_hub import SSEHubError
from tests.fuzz.engine import Check, Target
from tests.fuzz.population import (
    KINDS,
    NAMES,
    OWN,
    Population,
    Published,
    populated,
    seen,
)
from tests.fuzz.strategies import mostly


class Role(str, Enum):  # noqa: UP042 - it is the odd one
    """Formats itself as Role.ALICE, and is equal to "alice"."""

    ALICE = "alice"


_known = st.sampled_from([*NAMES, *OWN])
_odd: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([Role.ALICE, 7, -7, 7.0, True, None, b"alice", "", {"alice": 1}]),
    st.sampled_from(["alice\n", "\rbob", "news\0", "\ud800", "x" * 255, "x" * 256]),
    st.sampled_from(["alice ", " bob", "ALICE", "a\u0301", "\u0661"]),
    st.integers(),
    st.text(max_size=4),
    st.lists(st.text(max_size=2), max_size=2),
)
_name = mostly(_known, _odd)
_names = _name | st.lists(_name, max_size=4) | st.lists(_known).map(tuple)

_calls = st.fixed_dictionaries(
    {"data": mostly(st.text(st.characters(codec="utf-8")), st.binary(max_size=9))},
    optional={
        **dict.fromkeys(KINDS, _names),
        "exclude_client": _names,
        "idempotency_key": mostly(st.sampled_from("ab"), _odd),
        "type": mostly(st.sampled_from(["note", "message"]), _odd),
    },
)


def check(people: Population, calls: list[dict[str, Any]]) -> str:
    """Publish once or several times, and check the events of every listener."""
    people.begin()
    published: dict[str, Published] = {}
    keys: dict[str, str] = {}
    refused = False
    for number, call in enumerate(calls):
        options = {name: _filled(people, value) for name, value in call.items()}
        key = options.get("idempotency_key")
        data = options.pop("data")
        try:
            event_id = people.site.hub.publish(data, **options)
        except SSEHubError:
            refused = True
            continue
        if key is not None:
            assert keys.setdefault(str.__str__(key), event_id) == event_id, number
        target = {kind: options[kind] for kind in KINDS if kind in options}
        assert None not in target.values()
        published.setdefault(
            event_id,
            Published(
                event_id,
                options.get("type", "message"),
                seen(data if isinstance(data, str) else data.decode()),
                target,
                options.get("exclude_client") or (),
            ),
        )
    people.expect(published.values())
    return "refused" if refused else "arrived"


def _filled(people: Population, value: Any) -> Any:
    """Return an argument with its placeholders replaced by this hub's ids."""
    if isinstance(value, list | tuple):
        return type(value)(_filled(people, each) for each in value)
    return people.filled(value) if type(value) is str else value


@contextmanager
def _prepare() -> Iterator[Check]:
    with populated() as people:
        yield lambda calls: check(people, calls)


TARGET = Target("names", st.lists(_calls, min_size=1, max_size=3), _prepare)
