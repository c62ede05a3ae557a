"""The id from which a client resumes: one place reads it, under all its names."""

import pytest
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from flask_sse_hub.server.connection import QUERY_NAMES, last_event_id


def asked(query: str = "", **headers: str) -> str | None:
    environ = create_environ("/events", query_string=query, headers=headers)
    return last_event_id(Request(environ))


@pytest.mark.parametrize("name", QUERY_NAMES)
def test_the_query_may_carry_the_id(name: str) -> None:
    """Polyfills cannot set headers, and each has a name of its own for the id."""
    assert asked(f"{name}=e-7") == "e-7"


def test_the_header_counts_before_the_query() -> None:
    """A page's URL keeps the id of the page, and the header has a later one."""
    assert asked("last_event_id=e-1", **{"Last-Event-ID": "e-7"}) == "e-7"


@pytest.mark.parametrize(
    "query",
    ["last_event_id=e-1&lastEventId=e-7", "lastEventId=e-1&lastEventId=e-7"],
)
def test_the_last_id_of_a_query_counts(query: str) -> None:
    """A polyfill adds its id to a URL that has the page's already."""
    assert asked(query) == "e-7"


@pytest.mark.parametrize("query", ["", "last_event_id=", "lastEventId="])
def test_an_empty_id_is_none(query: str) -> None:
    """EventSource sends no header for an empty id either."""
    assert asked(query) is None
