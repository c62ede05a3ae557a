"""``flask sse``: publishing, listening, tokens for HTTP, and the browser client."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_sse_hub import Event, SSEHub
from flask_sse_hub.brokers import Broker
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events import address
from flask_sse_hub.hub.delivery.history import Cursor, Disconnect, Record, Retention
from flask_sse_hub.web import client_script, tokens
from flask_sse_hub.web.config import Config
from tests.hand import KEEP_ALL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteBroker]:
    broker = SQLiteBroker(path, KEEP_ALL)
    yield broker
    broker.close()


def run(url: str, *words: str, stdin: str | None = None) -> Result:
    """Run a command in an app of its own, as each shell command does."""
    app = Flask("shell")
    app.config.update(SSE_HUB_BROKER_URL=url, SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app)
    return app.test_cli_runner().invoke(args=["sse", *words], input=stdin)


def listen(path: Path, log: SQLiteBroker, *words: str, retention: Any = None) -> Result:
    """Listen to what is there after the log's beginning, until its broker is closed."""
    app = Flask("shell")
    app.config.update(
        SSE_HUB_BROKER_URL=f"sqlite:///{path}", SSE_HUB_LOGIN_REQUIRED=False
    )
    SSEHub(app)
    broker: Broker = app.extensions["sse_hub"].hub.broker
    follow = broker.follow

    def follow_once(after: Cursor) -> Iterator[Any]:
        for batch in follow(after):
            yield batch
            if batch.cursor == log.head():
                return

    broker.follow = follow_once  # type: ignore[method-assign]
    result = app.test_cli_runner().invoke(args=["sse", "listen", *words])
    broker.close()
    return result


class TestPublish:
    def test_it_prints_the_id_of_what_is_in_the_log(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """With every target, and what else an event has."""
        start = log.head()
        words = "hello --type t --user 7 --user 8 --channel a --session s --client c"
        more = "--exclude-client me --retry 2.5 --idempotency-key k"
        result = run(f"sqlite:///{path}", "publish", *words.split(), *more.split())
        assert result.exit_code == 0, result.output
        (record,) = log.replay(start, page=9).records
        assert result.output == f"{record.cursor}\n"
        assert record.content == Event("hello", type="t", retry=2.5)
        assert address.names_of(record.addresses) == {
            "channel": ["a"],
            "user": ["7", "8"],
            "session": ["s"],
            "client": ["c"],
        }
        assert record.exclude == ("me",)

    def test_without_an_argument_the_data_comes_from_standard_input(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """The newline that a shell puts at its end is not the event's."""
        start = log.head()
        run(f"sqlite:///{path}", "publish", stdin="one\n\ntwo\n")
        (record,) = log.replay(start, page=9).records
        assert record.content == Event("one\n\ntwo")
        assert address.names_of(record.addresses) == "everyone"

    def test_nothing_on_standard_input_is_a_mistake(self, path: Path) -> None:
        """As in a cron job whose other half failed; an empty argument is none."""
        url = f"sqlite:///{path}"
        assert run(url, "publish", "-", stdin="").exit_code == 2
        assert run(url, "publish", "").exit_code == 0

    @pytest.mark.parametrize("command", ["publish", "listen"])
    def test_a_log_that_nobody_shares_is_refused(self, command: str) -> None:
        """It would reach nobody, and look as if it had."""
        result = run("memory://", command, stdin="")
        assert result.exit_code == 2
        assert "memory://" in result.output

    def test_an_error_is_one_line(self, path: Path) -> None:
        """No traceback, whatever the event is like."""
        result = run(f"sqlite:///{path}", "publish", "x", "--user", "")
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert len(result.output.splitlines()) == 1


class TestListen:
    def test_what_it_cannot_read_is_said_and_nothing_reaches_the_terminal_raw(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """Names may have control characters, but for those that end a line."""
        start = log.head()
        log.publish(Record((address.channel("\x1b[2J"),), Event("x", type="\x1b[3J")))
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO record VALUES (NULL, 0, 0, 'nobody wrote this')")
        result = listen(path, log, "--last-event-id", str(start))
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "to channel=\\x1b[2J: x" in result.stdout
        assert result.stderr == "1 entries could not be read\n"

    def test_it_prints_what_comes(self, path: Path, log: SQLiteBroker) -> None:
        """When, the id, the type, whom it is for, and the data on one line."""
        start = log.head()
        log.publish(
            Record((address.user("7"), address.channel("a")), Event("x\n\033[2J"))
        )
        last = log.publish(Record((), Event("y", type="t")))
        one, two = listen(path, log, "--last-event-id", str(start)).output.splitlines()
        assert one.endswith(r" message to user=7 channel=a: x\n\x1b[2J")
        assert two.endswith(f" {last} t to nobody: y")

    def test_as_json_it_is_for_programs(self, path: Path, log: SQLiteBroker) -> None:
        """One object a line, with the data as it is."""
        start = log.head()
        cursor = log.publish(Record((address.BROADCAST,), Event("ä\n")))
        result = listen(path, log, "--json", "--last-event-id", str(start))
        shown = json.loads(result.output)
        assert shown.pop("time") > 1_600_000_000
        assert shown == {
            "id": str(cursor),
            "type": "message",
            "data": "ä\n",
            "target": "everyone",
        }

    def test_targets_narrow_it_down(self, path: Path, log: SQLiteBroker) -> None:
        """And control records are not for people."""
        start = log.head()
        log.publish(Record((address.user("7"),), Event("mine")))
        log.publish(Record((address.user("8"),), Event("other")))
        log.publish(Record((address.user("7"),), Disconnect("disconnected")))
        words = ("--user", "7", "--last-event-id", str(start))
        (line,) = listen(path, log, *words).output.splitlines()
        assert line.endswith("mine")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_a_gap_is_said(self, path: Path, as_json: bool) -> None:
        """What was missed is not known, and it goes on."""
        log = SQLiteBroker(path, Retention(events=2, seconds=3600.0, bytes=10_000_000))
        start = log.head()
        for _ in range(5):
            log.publish(Record((), Event("x")))
        words = ["--json"] if as_json else []
        result = listen(path, log, "--last-event-id", str(start), *words)
        assert "expired" in result.output
        assert str(log.head()) in result.output
        log.close()

    def test_without_an_id_it_begins_with_what_comes(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """What was there before is not shown."""
        log.publish(Record((), Event("before")))
        publisher = threading.Timer(0.3, log.publish, [Record((), Event("after"))])
        publisher.start()
        (line,) = listen(path, log).output.splitlines()
        publisher.join()
        assert line.endswith("after")

    def test_an_id_that_is_none_is_refused(self, path: Path) -> None:
        """It is a mistake of whoever typed it."""
        result = run(f"sqlite:///{path}", "listen", "--last-event-id", "x y")
        assert result.exit_code == 2
        assert "is no event id" in result.output


class TestToken:
    def test_what_it_prints_is_good_for_the_configuration(self) -> None:
        """The token for who publishes, and JSON for the environment with its hash."""
        words = "--channel orders.* --target user --name shop"
        result = run("memory://", "token", *words.split())
        made, value = result.stdout.splitlines()
        assert made not in value
        (token,) = Config.read(
            {"SSE_HUB_PUBLISH_TOKENS": json.loads(value)}
        ).publish_tokens
        assert tokens.find(made, [token]) is token
        assert token.channels == ("orders.*",)
        assert token.targets == {"channel", "user"}
        assert token.name == "shop"

    def test_each_is_another(self) -> None:
        """And long enough that nobody guesses it."""
        made = {run("memory://", "token").stdout.split()[0] for _ in range(3)}
        assert len(made) == 3
        assert all(len(token) >= 43 for token in made)

    @pytest.mark.parametrize("words", [("--target", "all"), ("--channel", "")])
    def test_a_scope_that_is_none_is_refused(self, words: tuple[str, str]) -> None:
        """It would be refused when the app starts."""
        assert run("memory://", "token", *words).exit_code == 2


class TestClient:
    def test_it_copies_what_a_bundler_needs(self, tmp_path: Path) -> None:
        """Into a folder that it makes, and says what it wrote, and of which version."""
        folder = tmp_path / "src" / "vendor"
        result = run("memory://", "client", str(folder))
        assert result.exit_code == 0, result.output
        files = {file.name: file.read_bytes() for file in client_script.files()}
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
        assert result.stdout.splitlines() == [str(folder / name) for name in files]
        assert result.stderr.startswith("the browser client of flask-sse-hub")

    def test_it_overwrites_its_own_files_and_no_others(self, tmp_path: Path) -> None:
        """A newer client replaces the older one; the folder may hold anything else."""
        (tmp_path / client_script.CLIENT_FILE).write_text("an older one")
        (tmp_path / "mine.js").write_text("mine")
        assert run("memory://", "client", str(tmp_path)).exit_code == 0
        assert "older" not in (tmp_path / client_script.CLIENT_FILE).read_text()
        assert (tmp_path / "mine.js").read_text() == "mine"

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        """It is said, and the file stays."""
        path = tmp_path / "file"
        path.write_text("mine")
        result = run("memory://", "client", str(path))
        assert result.exit_code == 2
        assert "is a file" in result.output
        assert path.read_text() == "mine"

    def test_a_folder_that_cannot_be_written_is_one_line(self, tmp_path: Path) -> None:
        """With the system's reason: here a file where a folder would have to be."""
        (tmp_path / "file").write_text("")
        result = run("memory://", "client", str(tmp_path / "file" / "folder"))
        assert result.exit_code == 1
        assert "Not a directory" in result.output
        assert len(result.output.splitlines()) == 1
