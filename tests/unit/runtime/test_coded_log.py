"""Codes of log lines, for people and for programs."""

import json
import logging

import pytest

from flask_sse_hub import JsonFormatter
from flask_sse_hub.runtime.coded_log import CodedLog

log = CodedLog(__name__)


def test_the_code_is_in_the_line_and_in_its_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A person reads it, and a filter of logging need not parse texts."""
    log.warning("SSE-0001", "the %s is full", "house")
    (record,) = caplog.records
    assert record.getMessage() == "the house is full [SSE-0001]"
    assert record.__dict__["sse_code"] == "SSE-0001"
    assert record.__dict__["sse_count"] == 1


def test_a_line_names_its_own_place(caplog: pytest.LogCaptureFixture) -> None:
    """A format with ``%(funcName)s`` shows the caller, not the log's own code."""
    caplog.set_level(logging.DEBUG)
    for write in (log.debug, log.info):
        write("a usual thing")
    for warn in (log.warning, log.error, log.exception):
        warn("SSE-0001", "a thing")
    assert {record.funcName for record in caplog.records} == {
        "test_a_line_names_its_own_place"
    }


def test_a_percent_sign_of_a_ready_text_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error that shows a format fails nothing."""
    log.warning("SSE-0001", "no such format: %s%")
    assert caplog.messages == ["no such format: %s% [SSE-0001]"]


def _line(**values: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "app", "created": 0.25} | values)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_json_has_the_code_beside_the_text() -> None:
    """A program that collects logs counts by codes."""
    line = _line(
        levelno=30,
        levelname="WARNING",
        msg="the %s is full [SSE-0001]",
        args=("house",),
        sse_code="SSE-0001",
        sse_count=5,
    )
    assert line == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "WARNING",
        "logger": "app",
        "code": "SSE-0001",
        "count": 5,
        "text": "the house is full",
    }


def test_json_has_a_traceback_within_its_line() -> None:
    """Lines of other packages are formatted as well, and have no code."""
    error = ValueError("two\nlines")
    line = _line(msg="failed", exc_info=(ValueError, error, None))
    assert "ValueError: two\nlines" in str(line["error"])
    assert "code" not in line
