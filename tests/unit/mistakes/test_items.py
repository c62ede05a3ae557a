"""Mistakes: items of an answer, and published data, as other packages take them."""

import json
import logging
import math
from typing import Any

import pytest
from flask import Flask

from flask_sse_hub import Event, EventSourceResponse
from flask_sse_hub.events import compose
from tests.conftest import Site

ITEMS: list[tuple[object, str]] = [
    (
        ("token", "hi"),
        (
            "a tuple is sent as a JSON array: yield Event(data, type=...) to set a"
            " type, or a list if you mean the array"
        ),
    ),
    (
        {"event": "token", "data": "hi"},
        (
            "a dict with the keys event, data is sent as JSON, as a whole: yield"
            " Event(data, type=...) to set a type, or Event(json.dumps(...)) if you"
            " mean the JSON"
        ),
    ),
    (
        "event: token\ndata: hi\n\n",
        (
            "a text with `data:` and a blank line is sent as the data of an event, with"
            " another `data:` before it: yield the data alone, or Event(data, type=...)"
        ),
    ),
    (
        b"data: hi\r\n\r\n",
        (
            "a text with `data:` and a blank line is sent as the data of an event, with"
            " another `data:` before it: yield the data alone, or Event(data, type=...)"
        ),
    ),
    (
        None,
        "None is sent as `null`: yield nothing instead, or Event('null')",
    ),
    (
        Event("hi", retry=2000),
        "the Event has retry=2000 (seconds, not milliseconds?)",
    ),
    (
        Event("hi", type="done"),
        "the type `done` tells clients that the answer has ended: choose another",
    ),
]


class TestItems:
    @staticmethod
    def _sent(app: Flask, *items: object) -> bytes:
        with app.test_request_context():
            response = EventSourceResponse(items)
            try:
                return b"".join(response.response)  # type: ignore[arg-type]
            finally:
                response.close()

    @pytest.mark.parametrize(("item", "text"), ITEMS)
    def test_a_habit_of_another_package_is_logged_once_for_each_answer(
        self, item: object, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The item is sent all the same: it may be meant as it is."""
        sent = self._sent(Flask("shop"), item, item)
        assert caplog.messages == [
            f"the answer of endpoint None is probably not as meant: {text} [SSE-1603]"
        ]
        assert b"event: error" not in sent

    @pytest.mark.parametrize(("item", "text"), ITEMS)
    def test_it_is_an_error_in_debug_mode(self, item: object, text: str) -> None:
        """The page shows the remedy while its author looks at the page."""
        app = Flask("shop")
        app.debug = True
        error = self._sent(app, item).rpartition(b"data: ")[2]
        assert json.loads(error)["message"] == text

    @pytest.mark.parametrize(("protocol", "told"), [("events", 1), (None, 0)])
    def test_without_an_end_of_its_own_an_answer_may_have_any_type(
        self, protocol: Any, told: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With ``protocol=None`` the type ``done`` is the app's own."""
        with Flask("shop").test_request_context():
            response = EventSourceResponse(
                [Event("hi", type="done")], protocol=protocol
            )
            assert b"event: done" in b"".join(response.response)  # type: ignore[arg-type]
            response.close()
        assert len(caplog.messages) == told

    def test_visitors_are_not_told_of_values(self) -> None:
        """Out of debug mode the text of an error stays in the log."""
        error = self._sent(Flask("shop"), math.nan).rpartition(b"data: ")[2]
        assert json.loads(error)["message"] == "the stream ended by an error"

    @pytest.mark.parametrize(
        "item",
        [":\n\n", "data", "\n\n", ["a", "b"], (1, 2), {"id": 7, "data": 8}, "", 0],
    )
    def test_ordinary_items_are_sent_in_silence(
        self, item: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A model's answer has tokens such as a colon with a blank line."""
        app = Flask("shop")
        app.debug = True
        assert b"event: error" not in self._sent(app, item)
        assert caplog.messages == []

    def test_a_heartbeat_in_milliseconds_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is accepted: a day is the limit."""
        with Flask("shop").test_request_context():
            EventSourceResponse([], heartbeat=15000).close()
        assert caplog.messages == [
            (
                "EventSourceResponse has heartbeat=15000 (seconds, not milliseconds?)"
                " [SSE-1606]"
            )
        ]

    def test_published_data_in_the_form_of_the_wire_is_told(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is published all the same: it may be meant as a text."""
        caplog.set_level(logging.WARNING, "flask_sse_hub.events")
        site.hub.publish("data: hi\n\n")
        assert (
            "an event was published whose data has `data:` and a blank line of its own,"
            " and clients receive them as text: publish the data alone [SSE-1501]"
        ) in caplog.messages

    @pytest.mark.parametrize(
        ("data", "retry"), [("hi", 2000), (Event("hi", retry=2000), None)]
    )
    def test_a_published_delay_in_milliseconds_is_told(
        self,
        site: Site,
        caplog: pytest.LogCaptureFixture,
        data: object,
        retry: float | None,
    ) -> None:
        """Clients would wait for half an hour after a cut. An hour is the limit."""
        site.hub.publish(data, retry=retry)
        assert [r.message for r in caplog.records if r.name == compose.__name__] == [
            (
                "an event was published with retry=2000 (seconds, not milliseconds?)"
                " [SSE-1502]"
            )
        ]

    def test_a_published_delay_of_minutes_is_not_told(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Publishers may send clients away for a while."""
        site.hub.publish("hi", retry=900)
        assert "milliseconds" not in caplog.text
