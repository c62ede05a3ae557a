"""Unknown names in a stream's query: the cost for clients that send them each time."""

import pytest
from flask import Flask

from flask_sse_hub.web import query_names
from flask_sse_hub.web.query_names import QueryNames


@pytest.mark.parametrize("debug", [True, False])
def test_a_logged_name_is_looked_up_again_in_debug_mode_only(
    debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches make clients send a name of their own with each connect."""
    searched: list[str] = []
    monkeypatch.setattr(query_names, "_remedy", lambda name: searched.append(name))
    app = Flask("app")
    app.debug = debug
    names = QueryNames()
    for _ in range(3):
        with app.test_request_context("/events?_=1&channel=news"):
            names.warnings()
    assert searched == ["_"] * (3 if debug else 1)
