"""Workers that answer each other: numbers, the dead, the silent, the forked."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flask_sse_hub.metrics import colleagues
from flask_sse_hub.metrics.colleagues import Colleagues
from tests.kit.reader import wait_until

_OTHER = """
import sys, threading
from pathlib import Path
from flask_sse_hub.metrics.colleagues import Colleagues
other = Colleagues("log", directory=Path(sys.argv[1]), answer=str.encode)
other.join()
print("joined", flush=True)
other.run(threading.Event())
"""


@contextmanager
def worker(
    directory: Path, answer: Callable[[str], bytes] = str.encode, *, log: str = "log"
) -> Iterator[Colleagues]:
    """A worker that answers, as long as the block lasts."""
    made = Colleagues(log, directory=directory, answer=answer)
    made.join()
    thread = threading.Thread(target=made.run, args=[threading.Event()])
    thread.start()
    yield made
    made.leave()
    thread.join(10)
    assert not thread.is_alive()


@contextmanager
def other_process(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker in a process of its own, which echoes questions."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(directory)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"joined\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_worker_hears_the_answers_of_all_others(tmp_path: Path) -> None:
    """The numbers begin at 0. Nobody asks itself, or a worker of another log."""
    with (
        worker(tmp_path, lambda _: b"first") as first,
        worker(tmp_path, lambda _: b"second"),
        worker(tmp_path, lambda _: b"third"),
        worker(tmp_path, lambda _: b"another", log="another"),
    ):
        assert first.number == 0
        assert first.ask("?").given == {1: b"second", 2: b"third"}
        assert first.ask("?", only=2).given == {2: b"third"}
        assert first.ask("?", only=7).given == {}


def test_a_program_beside_the_workers_asks_them_too(tmp_path: Path) -> None:
    """It has no number, and does not listen."""
    with worker(tmp_path):
        program = Colleagues("log", directory=tmp_path)
        assert program.ask("clients").given == {0: b"clients"}
        assert Colleagues("log", directory=tmp_path / "none").ask("?").given == {}


def test_a_dead_worker_is_dropped_and_its_number_is_used_again(tmp_path: Path) -> None:
    """Its socket stays behind, and refuses connections."""
    with other_process(tmp_path), worker(tmp_path) as second:
        assert second.number == 1
        assert second.ask("?").given == {0: b"?"}
    with worker(tmp_path) as next_one:
        assert next_one.number == 0
        assert next_one.ask("?") == colleagues.Answers({}, ())


def test_a_worker_that_is_stopped_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others do not wait for it without an end, and do not take its number."""
    monkeypatch.setattr(colleagues, "_ANSWER_SECONDS", 0.05)
    with closing(socket.socket(socket.AF_UNIX)) as stopped:
        path = Colleagues("log", directory=tmp_path).path
        path.mkdir(mode=0o700)
        stopped.bind(str(path / "0"))
        stopped.listen(1)
        with worker(tmp_path) as ours:
            assert ours.number == 1
            assert ours.ask("?").silent == (0,)


@pytest.mark.parametrize("reply", [b"", b"{"])
def test_a_worker_that_fails_to_answer_goes_on(tmp_path: Path, reply: bytes) -> None:
    """An error of one answer ends neither worker."""
    asked: list[str] = []

    def fail(question: str) -> bytes:
        asked.append(question)
        if len(asked) == 1:
            raise RuntimeError("it fails")
        return reply

    with worker(tmp_path, fail), worker(tmp_path) as ours:
        assert ours.ask("?").silent == (0,)
        again = ours.ask("?")
        assert again.given.get(0, b"") == reply
        assert asked == ["?", "?"]


@pytest.mark.parametrize("sent", [b"", b"x" * 300, b"\xff\n"])
def test_strange_questions_do_no_harm(tmp_path: Path, sent: bytes) -> None:
    """Only this user can connect, with whatever program."""
    with worker(tmp_path) as ours:
        with closing(socket.socket(socket.AF_UNIX)) as stranger:
            stranger.connect(str(ours.path / "0"))
            stranger.sendall(sent)
        assert Colleagues("log", directory=tmp_path).ask("?").given == {0: b"?"}


def test_a_worker_whose_socket_was_removed_joins_again(tmp_path: Path) -> None:
    """Systems clean up temporary files."""
    with worker(tmp_path) as ours:
        (ours.path / "0").unlink()
        ours.join()
        program = Colleagues("log", directory=tmp_path)
        wait_until(lambda: program.ask("?").given == {0: b"?"})


def test_a_worker_that_has_left_does_not_join_again(tmp_path: Path) -> None:
    """A request may ask for figures while the worker goes away."""
    with worker(tmp_path) as ours:
        ours.leave()
        ours.join()
        assert list(ours.numbers()) == []


def test_a_forked_child_neither_answers_nor_removes_the_socket(tmp_path: Path) -> None:
    """The parent still answers, and the child's end takes nothing from it."""
    with worker(tmp_path) as ours:
        child = os.fork()
        if not child:
            ours.leave()
            os._exit(0)
        os.waitpid(child, 0)
        assert Colleagues("log", directory=tmp_path).ask("?").given == {0: b"?"}


def test_a_directory_of_another_kind_is_refused(tmp_path: Path) -> None:
    """In /tmp another user may have made it first."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="not a directory of this user"):
        Colleagues("log", directory=tmp_path / "file").join()


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """A Unix socket's address has room for 108 bytes."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with worker(deep):
        assert Colleagues("log", directory=deep).ask("?").given == {0: b"?"}
