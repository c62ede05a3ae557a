"""No mistakes: unusual calls that work as they are written."""

import inspect
import json
from typing import Any
from uuid import UUID

import pytest

import flask_sse_hub
from flask_sse_hub import EventSourceResponse, Publisher, SSEHub, Target
from tests.unit.mistakes.conftest import Shop


class TestWhatWorks:
    def test_a_uuid_is_an_id(self, shop: Shop) -> None:
        """Flask-Login stores ``str(id)``, so both mean one user."""
        number = UUID(int=7)
        shop.publish("hi", user=number)
        shop.publish("hi", user=[number, "ada"])
        assert len(shop.published.events(user=str(number))) == 2

    @pytest.mark.parametrize("data", ["NaN", {"a": "NaN, Infinity"}, ["-Infinity"]])
    def test_a_text_may_be_called_nan(self, shop: Shop, data: object) -> None:
        """Only a number can be NaN."""
        shop.publish(data)
        text = shop.published.one().data
        assert text == data or json.loads(text) == data

    def test_dumps_may_write_something_other_than_json(self, tmp_path: Any) -> None:
        """Its text is not checked."""
        publisher = Publisher(
            f"sqlite:///{tmp_path}/hub.db", create=True, dumps=lambda data: "NaN {"
        )
        publisher.publish(object())
        publisher.close()

    def test_an_error_of_the_app_is_not_reworded(self, shop: Shop) -> None:
        """A TypeError from within a call is somebody else's."""

        def dumps(data: object) -> str:
            raise TypeError("mine")

        shop.app.json.dumps = dumps  # type: ignore[method-assign, assignment]
        with pytest.raises(TypeError, match=r"of type int cannot be .* mine"):
            shop.publish(7)

    def test_signatures_stay_readable(self) -> None:
        """Editors and help() show the arguments, and targets by their type."""
        parameters = inspect.signature(SSEHub.publish).parameters
        assert list(parameters)[:4] == ["self", "data", "type", "channel"]
        assert repr(parameters["channel"].default) == "UNSET"
        assert parameters["channel"].annotation == Target | type(
            parameters["channel"].default
        )
        assert "text/event-stream" not in str(inspect.signature(EventSourceResponse))

    def test_dir_lists_the_public_names(self) -> None:
        """``SSEHub`` and ``EventSourceResponse`` are loaded when they are used."""
        assert dir(flask_sse_hub) == sorted(flask_sse_hub.__all__)
