"""The index of docs/log-messages.md: each warning and error, by its code."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from logging.config import dictConfig
from pathlib import Path

import pytest

import flask_sse_hub
from tests.documented.samples import sample

PACKAGE = Path(flask_sse_hub.__file__).parent
JSON = sample("docs/log-messages.md", "python", with_="JsonFormatter")
PAGE = (PACKAGE.parent / "docs/log-messages.md").read_text()

#: The text of each code, as the index shows it.
INDEX = dict(re.findall(r"^\| `(SSE-\d{4})` \| `(.+?)` \| .+ \| .+ \|$", PAGE, re.M))


_LEVELS = {"warning", "error", "exception", "critical", "warn", "fatal", "log"}


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield the place of each call that logs a warning or an error."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in ("coded_log.py", "rare_log.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _LEVELS
                and re.search(r"log(ger)?(\(.*\))?$", ast.unparse(node.func.value))
            ):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def _code(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    value = first.value if isinstance(first, ast.Constant) else None
    return value if isinstance(value, str) else ""


def test_each_warning_and_error_has_a_code() -> None:
    """Operators look up a line by its code."""
    found = list(_calls())
    assert len(found) > 60
    wrong = [place for place, call in found if not re.match("SSE-", _code(call))]
    assert wrong == []


def test_the_index_has_each_code_and_no_other() -> None:
    """With its meaning and cure; a code that has gone may not be used again."""
    assert len(INDEX) == len(re.findall(r"^\| `SSE-\d{4}` \|", PAGE, re.M))
    assert list(INDEX) == sorted({_code(call) for _, call in _calls()})


def test_the_index_shows_the_texts_that_are_logged() -> None:
    """Each part of a text between dots is in the call, in the same order."""
    wrong = []
    for place, call in _calls():
        if not isinstance(call.args[1], ast.Constant | ast.JoinedStr):
            # A constant or a function makes the text.
            continue
        parts = [re.escape(part) for part in INDEX[_code(call)].split("...")]
        text = ast.unparse(call.args[1])
        if not re.search(".+".join(parts), text):
            wrong.append((place, text))
    assert wrong == []


def test_a_code_means_one_thing() -> None:
    """Two places with one code log the same text."""
    texts: dict[str, set[str]] = {}
    for _, call in _calls():
        texts.setdefault(_code(call), set()).add(ast.unparse(call.args[1]))
    assert {code: found for code, found in texts.items() if len(found) > 1} == {}


def test_the_formatter_writes_lines_of_json(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample configures logging as it is."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    try:
        exec(JSON, {"dictConfig": dictConfig})  # noqa: S102 - the sample itself
        logging.getLogger("flask_sse_hub").warning("broken")
        assert json.loads(capfd.readouterr().err)["text"] == "broken"
    finally:
        root.setLevel(level)
