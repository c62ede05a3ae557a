"""The raw body of a request: cases that the tests of its endpoints do not cover."""

from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest

from flask_sse_hub.webhooks import request_body
from flask_sse_hub.webhooks.request_body import read_body
from tests.kit.sockets import tcp_pair


def test_waiting_for_a_body_that_stops_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request is refused, and the socket has its old timeout again."""
    monkeypatch.setattr(request_body, "_PATIENCE_SECONDS", 0.02)
    ours, theirs = tcp_pair()
    ours.settimeout(None)
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(b"half")
        environ: dict[str, Any] = {
            "gunicorn.socket": ours,
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
            "CONTENT_LENGTH": "8",
        }
        with (
            Flask("any").test_request_context(environ_overrides=environ),
            pytest.raises(BadRequest, match="cannot be read to its end"),
        ):
            read_body(100)
        assert ours.gettimeout() is None
