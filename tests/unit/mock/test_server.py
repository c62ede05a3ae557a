"""`flask sse mock`: the events that a client receives from a script."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub.mock.server import make_mock_server
from flask_sse_hub.testing import EventMissing, Stream
from tests.conftest import Site
from tests.kit.reader import DEADLINE, wait_until

Play = Callable[..., str]


def script(*steps: dict[str, Any]) -> str:
    return "\n".join(json.dumps(step) for step in steps)


@pytest.fixture
def play() -> Iterator[Play]:
    """Serve a script and return its address."""
    with_threads = []

    def start(*steps: dict[str, Any], loop: bool = False) -> str:
        server = make_mock_server(script(*steps), port=0, loop=loop)
        # Poll often, so that the end of a test does not wait for the server.
        serve = threading.Thread(target=lambda: server.serve_forever(0.01))
        serve.start()
        with_threads.append((server, serve))
        return f"http://127.0.0.1:{server.port}/events"

    yield start
    for server, serve in with_threads:
        server.shutdown()
        serve.join(DEADLINE)
        server.server_close()


def texts(stream: Stream, count: int) -> list[str]:
    return [event.data for event in stream.events(count)]


def test_a_script_is_played_in_order(play: Play) -> None:
    """After the last step the stream stays open and silent."""
    url = play(
        {"retry": 0.5},
        {"data": "a", "id": "1", "type": "note"},
        {"comment": "nothing"},
        {"wait": 0.01},
        {"data": {"b": 2}},
    )
    with Stream(url) as stream:
        first, second = stream.events(2)
        assert (first.type, first.data, first.id) == ("note", "a", "1")
        assert second.json() == {"b": 2}
        assert stream.retry == 0.5
        with pytest.raises(EventMissing, match="the stream is open"):
            stream.next(within=0.05)


def test_a_drop_happens_once(play: Play) -> None:
    """A client that reconnects with its last id goes on after the drop."""
    url = play({"data": "a", "id": "1"}, {"drop": True}, {"data": "b", "id": "2"})
    with Stream(url) as stream, Stream(url) as other:
        assert [event.data for event in stream.rest()] == ["a"]
        stream.resume()
        assert texts(stream, 1) == ["b"]
        # Each client has the drop once.
        assert [event.data for event in other.rest()] == ["a"]
        other.resume()
        assert texts(other, 1) == ["b"]


def test_a_dropped_client_without_ids_goes_on_too(play: Play) -> None:
    """A script without ids would otherwise never get past its first drop."""
    url = play({"data": "a"}, {"drop": True}, {"data": "b"})
    with Stream(url) as stream:
        stream.rest()
        stream.resume()
        assert texts(stream, 1) == ["b"]


def test_a_client_resumes_from_an_id(play: Play) -> None:
    """The id comes in the header or the URL. An unknown id starts at the beginning."""
    url = play({"data": "a", "id": "1"}, {"data": "b", "id": "2"}, {"data": "c"})
    with Stream(url, last_event_id="1") as stream:
        assert texts(stream, 2) == ["b", "c"]
    with Stream(f"{url}?last_event_id=2") as stream:
        assert texts(stream, 1) == ["c"]
    with Stream(url, last_event_id="7") as stream:
        assert texts(stream, 1) == ["a"]


def test_a_status_step_answers_the_next_request(play: Play) -> None:
    """A status step that is not the first ends the stream.

    The client receives the status when it reconnects.
    """
    url = play(
        {"status": 503, "retry_after": 5},
        {"data": "a", "id": "1"},
        {"status": 401},
        {"data": "b"},
    )
    with Stream(url) as stream:
        assert stream.status == 503
        assert stream.headers["Retry-After"] == "5"
        stream.resume()
        assert [event.data for event in stream.rest()] == ["a"]
        stream.resume()
        assert stream.status == 401
        stream.resume()
        assert texts(stream, 1) == ["b"]


def test_a_loop_begins_again(play: Play) -> None:
    """A page may stay open for longer than the script lasts."""
    url = play({"data": "a"}, {"data": "b"}, {"wait": 0.01}, loop=True)
    with Stream(url) as stream:
        assert texts(stream, 5) == ["a", "b", "a", "b", "a"]


def test_a_loop_that_ends_with_a_drop_begins_again(play: Play) -> None:
    """The script starts again with the next reconnect."""
    url = play({"data": "a"}, {"drop": True}, loop=True)
    with Stream(url) as stream:
        for _ in range(3):
            assert [event.data for event in stream.rest()] == ["a"]
            stream.resume()


@pytest.mark.parametrize("silence", [[{"wait": 60}], []], ids=["wait", "end"])
def test_a_client_that_leaves_frees_its_thread(
    play: Play, silence: list[dict[str, Any]]
) -> None:
    """The thread ends while nothing is sent too, or reloads would fill the RAM."""
    before = threading.active_count()
    url = play({"data": "a"}, *silence)
    for _ in range(3):
        with Stream(url) as stream:
            stream.next()
    wait_until(lambda: threading.active_count() == before + 1)


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:8080", True),
        ("https://localhost", True),
        ("https://example.com", False),
        ("http://localhost.example.com", False),
        ("http://localhost:80@example.com", False),
    ],
)
def test_only_pages_of_this_machine_may_read_the_mock(
    play: Play, origin: str, welcome: bool
) -> None:
    """The front end has a server of its own, on another port of this machine."""
    url = play({"data": "a"})
    with Stream(url, headers={"Origin": origin}) as stream:
        allowed = stream.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if welcome else None)
    with Stream(
        url,
        method="OPTIONS",
        headers={"Origin": origin, "Access-Control-Request-Headers": "last-event-id"},
    ) as asked:
        assert asked.status == 204
        headers = asked.headers.get("Access-Control-Allow-Headers")
        assert headers == ("last-event-id" if welcome else None)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:5001", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:5001", 200),
        ("evil.example", 403),
        ("evil.example:5001", 403),
        ("localhost.evil.example", 403),
        ("localhost@evil.example", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_only_names_of_this_machine_are_answered(
    play: Play, host: str, status: int, method: str
) -> None:
    """By DNS rebinding, a page of another site can lead its own name here."""
    url = play({"data": "a"})
    with Stream(url, method=method, headers={"Host": host}) as stream:
        expected = 204 if (method, status) == ("OPTIONS", 200) else status
        assert stream.status == expected


# The command


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom flask_sse_hub import SSEHub\n"
        "app = Flask(__name__)\nSSEHub(app)\n"
    )

    def start(text: str, *options: str) -> subprocess.Popen[str]:
        (tmp_path / "script.jsonl").write_text(text)
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "sse", "mock", "script.jsonl", *options],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell that runs the tests in the background makes them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def test_the_command_prints_its_address_and_ends_by_ctrl_c(
    command: Callable[..., subprocess.Popen[str]],
) -> None:
    """The command ends without a traceback while a stream is open."""
    with command(script({"data": "a"}), "--port", "0") as mock:
        try:
            assert mock.stdout is not None
            url = mock.stdout.readline().strip()
            with Stream(url) as stream:
                assert stream.next().data == "a"
                mock.send_signal(signal.SIGINT)
                _, errors = mock.communicate(timeout=DEADLINE)
        finally:
            mock.kill()
    assert mock.returncode == 0
    assert "Traceback" not in errors


def test_a_bad_script_is_refused_at_the_start(
    command: Callable[..., subprocess.Popen[str]],
) -> None:
    """The error gives the line numbers, and nothing is served."""
    with command('{"data": 1}\n{"wait": "x"}\n', "--port", "0") as mock:
        out, errors = mock.communicate(timeout=DEADLINE)
    assert mock.returncode == 1
    assert out == ""
    assert (
        errors
        == "Error: script.jsonl:\nline 2: wait must be a number of seconds, not str\n"
    )


def test_a_byte_order_mark_is_no_part_of_a_script(site: Site, tmp_path: Path) -> None:
    """Some editors begin each file with a byte order mark. It is skipped."""
    path = tmp_path / "script.jsonl"
    path.write_text('{"data": 1}\r\n{"wait": "x"}\r\n', encoding="utf-8-sig")
    done = site.app.test_cli_runner().invoke(args=["sse", "mock", str(path)])
    assert done.output.splitlines()[1:] == [
        "line 2: wait must be a number of seconds, not str"
    ]
