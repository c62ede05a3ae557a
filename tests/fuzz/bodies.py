"""Publishing over HTTP: no body makes the server fail or reaches another client."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz.edits import Edit, edited, edits
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
from tests.fuzz.strategies import json_values, mostly

TOKENS: list[Any] = [
    "a-token-for-everything",
    {"token": "a-token-for-some-channels", "channels": ["orders.*", "news"]},
    {"token": "a-token-for-people-only", "targets": ["user", "session"]},
    {"token": "a-token-for-everyone-only", "targets": ["everyone"]},
]
STATUSES = {202, 400, 401, 403, 413, 415}

#: Small, so that some cases exceed it.
MAX_EVENT_BYTES = 100


class Request(NamedTuple):
    """A publish request, and the changes to its body on the way."""

    body: str
    changes: list[Edit]
    authorization: str | None
    content_type: str


def check(people: Population, request: Request) -> str:
    """Post a request, and check the events that every listener receives."""
    people.begin()
    body = people.filled(request.body).encode(errors="surrogatepass")
    body = edited(body, request.changes)
    sent = {"Authorization": request.authorization}
    response = people.site.app.test_client().post(
        "/events/publish",
        data=body,
        headers={name: value for name, value in sent.items() if value is not None},
        content_type=request.content_type,
    )
    answer: Any = response.json
    assert response.status_code in STATUSES
    if response.status_code == 202:
        people.expect(_published(body, answer, request.authorization or ""))
    else:
        assert answer.keys() in ({"error"}, {"error", "field"}), answer
        assert all(isinstance(text, str) for text in answer.values()), answer
        people.expect([])
    return str(response.status_code)


def _published(body: bytes, answer: Any, authorization: str) -> list[Published]:
    """Return the events of an accepted body, each once."""
    given = json.loads(body.decode())
    events = given if isinstance(given, list) else [given]
    ids = answer["ids"] if isinstance(given, list) else [answer["id"]]
    published: dict[str, Published] = {}
    keys: dict[str, str] = {}
    for event, event_id in zip(events, ids, strict=True):
        assert event.keys() >= {"data", "target"}
        assert _may_publish(authorization, event["target"]), event["target"]
        key = event.get("idempotency_key")
        assert key is None or keys.setdefault(key, event_id) == event_id
        meant = Published(
            event_id,
            event.get("type", "message"),
            _text(event["data"]),
            {} if event["target"] == "everyone" else event["target"],
            event.get("exclude_client", []),
        )
        published.setdefault(event_id, meant)
    return list(published.values())


def _may_publish(authorization: str, target: Any) -> bool:
    """Return whether TOKENS allows a target, written without any pattern.

    An empty list names no client, and every token may publish to it.
    """
    kind, _, token = authorization.partition(" ")
    assert kind.lower() == "bearer"
    token = token.strip()
    if target != "everyone":
        target = {kind: names for kind, names in target.items() if names != []}
    if token == "a-token-for-everyone-only":
        return target == "everyone" or not target
    if token == "a-token-for-people-only":
        return isinstance(target, dict) and target.keys() <= {"user", "session"}
    if token == "a-token-for-some-channels":
        if target == "everyone" or not target.keys() <= {"channel"}:
            return False
        names = target.get("channel", [])
        return all(
            name == "news" or name.startswith("orders.")
            for name in ([names] if isinstance(names, str) else names)
        )
    return token == "a-token-for-everything"


def _text(data: Any) -> str:
    if isinstance(data, str):
        return seen(data)
    # The form that Flask writes by default.
    return json.dumps(data, sort_keys=True)


_name = mostly(
    st.sampled_from([*NAMES, *OWN]),
    st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([None, "a\n"]),
)
_names = _name | st.lists(_name, max_size=4)
_channels = st.sampled_from(["orders.1", "orders.2", "news"])
_targets = st.one_of(
    st.just("everyone"),
    st.fixed_dictionaries({"channel": _channels | st.lists(_channels)}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, _names)),
)
_data = mostly(st.text(max_size=9), json_values | st.just("x" * MAX_EVENT_BYTES + "y"))
_events = st.fixed_dictionaries(
    {"data": _data, "target": _targets},
    optional={
        "type": mostly(st.just("note"), st.just("ping") | st.text(max_size=3)),
        "retry": mostly(st.floats(0, 9), st.floats() | st.integers()),
        "exclude_client": _names,
        "idempotency_key": mostly(
            st.sampled_from("ab"), st.sampled_from(["a\n", "k" * 237, "k" * 238])
        ),
    },
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """Return a body, perhaps with some parts replaced."""
    body = draw(_events | st.lists(_events, max_size=4))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        body = _with_another_part(draw, copy.deepcopy(body))
    return json.dumps(body, ensure_ascii=draw(st.booleans()))


def _with_another_part(draw: st.DrawFn, whole: Any) -> Any:
    """Replace, add or remove one part, at any depth."""
    if not isinstance(whole, dict | list) or not whole or draw(st.integers(0, 9)) == 9:
        return draw(json_values)
    places = list(whole) if isinstance(whole, dict) else list(range(len(whole)))
    at = draw(st.sampled_from(places))
    if (how := draw(st.integers(0, 9))) == 0:
        del whole[at]
    elif how == 1 and isinstance(whole, dict):
        whole[draw(st.sampled_from(["data", "type", *KINDS]) | st.text(max_size=3))] = (
            draw(json_values)
        )
    else:
        whole[at] = _with_another_part(draw, whole[at])
    return whole


# Deeper than JSON parsers and writers can recurse.
_deep = st.integers(0, 3000).map(
    lambda depth: f'{{"data": {"[" * depth}{"]" * depth}, "target": "everyone"}}'
)
_bearers = st.sampled_from(
    [t["token"] if isinstance(t, dict) else t for t in TOKENS]
).map("Bearer {}".format)
_headers = st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30
)


@contextmanager
def _prepare() -> Iterator[Check]:
    with populated(publish_tokens=TOKENS, max_event_bytes=MAX_EVENT_BYTES) as people:
        yield lambda request: check(people, request)


TARGET = Target(
    "publish bodies",
    st.builds(
        Request,
        mostly(_damaged(), st.text() | _deep),
        mostly(st.just([]), edits),
        mostly(_bearers, st.none() | _headers | _bearers.map(str.swapcase)),
        mostly(
            st.just("application/json"),
            st.sampled_from(["application/json; charset=latin-1", "text/plain", ""]),
        ),
    ),
    _prepare,
)
