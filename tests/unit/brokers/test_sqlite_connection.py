"""The connection to a log's file notices each change of the file."""

from pathlib import Path

import pytest

from flask_sse_hub.brokers.sqlite import connection as module
from flask_sse_hub.brokers.sqlite.connection import LogConnection


def remove(path: Path) -> None:
    for each in path.parent.glob(path.name + "*"):
        each.unlink()


def make(path: Path) -> None:
    made = LogConnection(path)
    assert made.is_changed()
    made.close()


def test_a_file_that_is_removed_is_a_change(tmp_path: Path) -> None:
    """SQLite may give the next connection the version that the last one had."""
    path = tmp_path / "hub.db"
    connection = LogConnection(path)
    assert connection.is_changed()
    assert not connection.is_changed()
    remove(path)
    assert connection.is_changed()
    assert not connection.is_changed()
    connection.close()


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the process would read a deleted file, and notice nothing any more."""
    path = tmp_path / "hub.db"
    make(path)
    has_table = module._has_table
    replaced: list[Path] = []

    def replace(opened: object, name: str) -> bool:
        if not replaced:
            replaced.append(path)
            remove(path)
            make(path)
        return has_table(opened, name)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_has_table", replace)
    connection, other = LogConnection(path), LogConnection(path)
    epochs = []
    for each in (connection, other):
        with each.transaction("BEGIN") as opened:
            epochs += opened.execute("SELECT epoch FROM state").fetchone()
        each.close()
    assert epochs[0] == epochs[1]
