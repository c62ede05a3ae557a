"""``flask sse``: publish, listen, create HTTP tokens, and copy the browser client."""

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
from flask_sse_hub.events.record import Cursor, Disconnect, Record, Retention
from flask_sse_hub.hub.members import beat_of
from flask_sse_hub.hub.presence.records import Said, join
from flask_sse_hub.web import client_package, client_script, tokens
from flask_sse_hub.web.config import Config
from tests.kit.hand import KEEP_ALL


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
    """Run ``listen`` until it has read to the end of the log."""
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
    def test_publish_prints_the_id_of_the_event(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """The event in the log has every target and option of the command line."""
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

    def test_an_event_may_be_the_value_of_a_key(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """Listening in JSON shows the key; a delete without one is refused."""
        url = f"sqlite:///{path}"
        start = log.head()
        run(url, "publish", "1", "--key", "a", "--channel", "prices")
        run(url, "publish", "null", "--key", "a", "--channel", "prices", "--delete")
        assert log.state().records == ()
        result = listen(path, log, "--json", "--last-event-id", str(start))
        shown = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(each["key"], each["deleted"]) for each in shown] == [
            ("a", False),
            ("a", True),
        ]
        result = run(url, "publish", "1", "--delete")
        assert result.exit_code != 0
        assert "pass key=" in result.stderr

    def test_an_event_may_have_a_ttl(self, path: Path, log: SQLiteBroker) -> None:
        """Listening in JSON shows it; one that is out of range is refused."""
        url = f"sqlite:///{path}"
        start = log.head()
        run(url, "publish", "1", "--ttl", "2.5")
        run(url, "publish", "2")
        result = listen(path, log, "--json", "--last-event-id", str(start))
        shown = [json.loads(line) for line in result.stdout.splitlines()]
        assert [each.get("ttl") for each in shown] == [2.5, None]
        result = run(url, "publish", "1", "--ttl", "-1")
        assert result.exit_code != 0
        assert "between 0 and 604800 seconds" in result.stderr

    def test_without_an_argument_the_data_comes_from_standard_input(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """The trailing newline that a shell adds is not part of the data."""
        start = log.head()
        run(f"sqlite:///{path}", "publish", stdin="one\n\ntwo\n")
        (record,) = log.replay(start, page=9).records
        assert record.content == Event("one\n\ntwo")
        assert address.names_of(record.addresses) == "everyone"

    def test_empty_standard_input_is_refused(self, path: Path) -> None:
        """The cause is probably a failed pipe. An empty argument is fine."""
        url = f"sqlite:///{path}"
        assert run(url, "publish", "-", stdin="").exit_code == 2
        assert run(url, "publish", "").exit_code == 0

    @pytest.mark.parametrize("data", ["{a: 1}", "[1, 2", '{"a": NaN}'])
    @pytest.mark.parametrize("piped", [True, False])
    def test_broken_json_is_published_with_a_warning(
        self, path: Path, data: str, piped: bool
    ) -> None:
        """A shell has probably removed the quotes. Text may begin so, too."""
        url = f"sqlite:///{path}"
        words = ["publish", "-"] if piped else ["publish", data]
        result = run(url, *words, stdin=data if piped else None)
        assert result.exit_code == 0
        assert "-" in result.stdout
        assert "warning: the data begins like JSON and is not JSON (" in result.stderr
        assert result.stderr.endswith("In a shell, put JSON into single quotes\n")

    @pytest.mark.parametrize("data", ['{"a": 1}', "[1, 2]", "hello", "a {", ""])
    def test_other_data_is_published_without_a_warning(
        self, path: Path, data: str
    ) -> None:
        """JSON is sent as it is, and so is any text that does not begin like it."""
        assert run(f"sqlite:///{path}", "publish", data).stderr == ""

    @pytest.mark.parametrize("command", ["publish", "listen"])
    def test_a_broker_that_is_not_shared_is_refused(self, command: str) -> None:
        """The command would appear to work but would reach no client."""
        result = run("memory://", command, stdin="")
        assert result.exit_code == 2
        assert "memory://" in result.output

    def test_an_error_is_printed_on_one_line(self, path: Path) -> None:
        """No traceback is printed, whatever is wrong with the event."""
        result = run(f"sqlite:///{path}", "publish", "x", "--user", "")
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert len(result.output.splitlines()) == 1


class TestListen:
    def test_unreadable_entries_are_reported_and_output_is_escaped(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """Names may contain control characters other than line ends."""
        start = log.head()
        log.publish(Record((address.channel("\x1b[2J"),), Event("x", type="\x1b[3J")))
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO record VALUES (NULL, 0, 0, 'nobody wrote this')")
        result = listen(path, log, "--last-event-id", str(start))
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "to channel=\\x1b[2J: x" in result.stdout
        assert result.stderr == "1 entries could not be read\n"

    def test_listen_prints_each_event_on_one_line(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """The line has the time, the id, the type, the targets and the data."""
        start = log.head()
        log.publish(
            Record((address.user("7"), address.channel("a")), Event("x\n\033[2J"))
        )
        last = log.publish(Record((), Event("y", type="t")))
        one, two = listen(path, log, "--last-event-id", str(start)).output.splitlines()
        assert one.endswith(r" message to user=7 channel=a: x\n\x1b[2J")
        assert two.endswith(f" {last} t to nobody: y")

    def test_json_cannot_control_a_terminal(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """C1 and bidi controls are escaped too, and the values stay the same."""
        start = log.head()
        odd = (
            "\x1b[2J\x7f\x9b2J\x85\u202e\u2066\u200b\u2028\ufeff\U000e0041 ä\U0001f4e6"
        )
        log.publish(Record((address.channel(odd),), Event(odd, type=odd)))
        result = listen(path, log, "--json", "--last-event-id", str(start))
        (line,) = result.stdout.splitlines()
        assert line.isprintable()
        assert "ä\U0001f4e6" in line
        shown = json.loads(line)
        assert shown["data"] == shown["type"] == odd
        assert shown["target"] == {"channel": [odd]}

    def test_listen_leaves_out_what_workers_tell_each_other(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """People who come are shown, and not the worker that has their streams."""
        start = log.head()
        log.publish(beat_of("w"))
        said = Said("join", "room.7", "ann", 1.5)
        log.publish(join("w", said))
        (line,) = listen(path, log, "--last-event-id", str(start)).output.splitlines()
        assert " presence to presence=room.7: " in line

    def test_listen_can_print_json(self, path: Path, log: SQLiteBroker) -> None:
        """Each line is one JSON object with the data unchanged."""
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

    def test_listen_shows_only_the_given_targets(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """Control records are never shown."""
        start = log.head()
        log.publish(Record((address.user("7"),), Event("mine")))
        log.publish(Record((address.user("8"),), Event("other")))
        log.publish(Record((address.user("7"),), Disconnect("disconnected")))
        words = ("--user", "7", "--last-event-id", str(start))
        (line,) = listen(path, log, *words).output.splitlines()
        assert line.endswith("mine")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_a_gap_is_reported(self, path: Path, as_json: bool) -> None:
        """The command says that events were missed, and goes on listening."""
        log = SQLiteBroker(path, Retention(events=2, seconds=3600.0, bytes=10_000_000))
        start = log.head()
        for _ in range(5):
            log.publish(Record((), Event("x")))
        words = ["--json"] if as_json else []
        result = listen(path, log, "--last-event-id", str(start), *words)
        assert "expired" in result.output
        assert str(log.head()) in result.output
        log.close()

    def test_without_an_id_listen_shows_only_new_events(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """Events from before the command are not shown."""
        log.publish(Record((), Event("before")))
        publisher = threading.Timer(0.3, log.publish, [Record((), Event("after"))])
        publisher.start()
        (line,) = listen(path, log).output.splitlines()
        publisher.join()
        assert line.endswith("after")

    def test_an_invalid_event_id_is_refused(self, path: Path) -> None:
        """The command ends with a usage error."""
        result = run(f"sqlite:///{path}", "listen", "--last-event-id", "x y")
        assert result.exit_code == 2
        assert "is not an event id" in result.output


class TestToken:
    def test_the_printed_token_and_configuration_work_together(self) -> None:
        """The command prints the token and a JSON setting that contains its hash."""
        words = "--channel orders.* --target user --type order.* --rate 9/hour"
        words += " --share 0.5"
        words += " --name shop"
        result = run("memory://", "token", *words.split())
        made, value = result.stdout.splitlines()
        assert made not in value
        (token,) = Config.read(
            {"SSE_HUB_PUBLISH_TOKENS": json.loads(value)}
        ).publish_tokens
        assert tokens.find(made, [token]) is token
        assert token.channels == ("orders.*",)
        assert token.targets == {"channel", "user"}
        assert (token.types, token.rate) == (("order.*",), "9/hour")
        assert token.share == 0.5
        assert token.name == "shop"

    def test_each_token_is_different(self) -> None:
        """A token is too long to be guessed."""
        made = {run("memory://", "token").stdout.split()[0] for _ in range(3)}
        assert len(made) == 3
        assert all(len(token) >= 43 for token in made)

    @pytest.mark.parametrize(
        "words",
        [("--target", "all"), ("--channel", ""), ("--rate", "often"), ("--share", "2")],
    )
    def test_an_invalid_scope_is_refused(self, words: tuple[str, str]) -> None:
        """The app would refuse the scope at start."""
        assert run("memory://", "token", *words).exit_code == 2


class TestClient:
    def test_it_copies_the_files_that_a_bundler_needs(self, tmp_path: Path) -> None:
        """The command creates the folder and prints the files and their version."""
        folder = tmp_path / "src" / "vendor"
        result = run("memory://", "client", str(folder))
        assert result.exit_code == 0, result.output
        files = {file.name: file.read_bytes() for file in client_package.files()}
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
        assert result.stdout.splitlines() == [str(folder / name) for name in files]
        assert result.stderr.startswith("the browser client of flask-sse-hub")

    def test_it_overwrites_its_own_files_and_no_others(self, tmp_path: Path) -> None:
        """A newer client replaces an older one. Other files in the folder are kept."""
        (tmp_path / client_script.CLIENT_FILE).write_text("an older one")
        (tmp_path / "mine.js").write_text("mine")
        assert run("memory://", "client", str(tmp_path)).exit_code == 0
        assert "older" not in (tmp_path / client_script.CLIENT_FILE).read_text()
        assert (tmp_path / "mine.js").read_text() == "mine"

    @pytest.mark.parametrize("text", ['{"name": "shop"}', "{}", "[]", "{"])
    def test_the_folder_of_another_package_is_refused(
        self, tmp_path: Path, text: str
    ) -> None:
        """Nothing is written: the client's package.json would replace the other one."""
        (tmp_path / "package.json").write_text(text)
        result = run("memory://", "client", str(tmp_path))
        assert result.exit_code == 2
        assert str(tmp_path / "sse-hub") in result.output
        assert [path.read_text() for path in tmp_path.iterdir()] == [text]

    def test_an_older_package_is_replaced(self, tmp_path: Path) -> None:
        """Its package.json names the same package."""
        folder = str(tmp_path)
        (tmp_path / "package.json").write_text('{"name": "sse-hub", "version": "0"}')
        assert run("memory://", "client", folder).exit_code == 0
        package = json.loads((tmp_path / "package.json").read_text())
        assert package["exports"]["./vue"]["default"] == "./sse-hub-vue.js"
        assert run("memory://", "client", folder).exit_code == 0

    def test_a_file_in_place_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        """The error says so, and the file is kept."""
        path = tmp_path / "file"
        path.write_text("mine")
        result = run("memory://", "client", str(path))
        assert result.exit_code == 2
        assert "is a file" in result.output
        assert path.read_text() == "mine"

    def test_a_folder_that_cannot_be_created_is_a_one_line_error(
        self, tmp_path: Path
    ) -> None:
        """The line contains the system's reason: here a parent that is a file."""
        (tmp_path / "file").write_text("")
        result = run("memory://", "client", str(tmp_path / "file" / "folder"))
        assert result.exit_code == 1
        assert "Not a directory" in result.output
        assert len(result.output.splitlines()) == 1
