"""SQLite's log and the processes that share it: locks, forks, starts, copies."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flask_sse_hub import Event, Publisher
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.brokers.sqlite.doorbell import Directory
from flask_sse_hub.brokers.sqlite.membership import Membership
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import GapReason, Record, Retention
from flask_sse_hub.runtime import native
from tests.kit.hand import KEEP_ALL, HandHub
from tests.kit.reader import wait_until
from tests.wire.real_parts import absent

EVENT = Record((BROADCAST,), Event("x"))

# A user without rights, on each Unix system.
_NOBODY = 65534

PUBLISH_AND_CLOSE = """
import sys, time
from flask_sse_hub import Publisher
publisher = Publisher("sqlite:///" + sys.argv[1], create=True)
print(publisher.publish("x"), flush=True)
publisher.close()
while publisher._broker.get()._membership.held:
    time.sleep(0.01)
"""

#: Prints the epochs that four processes see in the log, which all of them open at once
#: and keep open until the last one has told its epoch.
BEGIN = """
import os, sys
from pathlib import Path
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from tests.kit.hand import KEEP_ALL
(begin, begun), (told, tell), (leave, left) = os.pipe(), os.pipe(), os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.close(begun), os.close(left)
        os.read(begin, 1)
        broker = SQLiteBroker(Path(sys.argv[1]), KEEP_ALL)
        os.write(tell, f"{broker.head().epoch}\\n".encode())
        os.read(leave, 1)
        os._exit(0)
os.close(begun), os.close(tell)
with open(told) as lines:
    epochs = [lines.readline().strip() for _ in range(4)]
os.close(left)
for _ in range(4):
    os.wait()
print(*epochs)
"""

LOCKS_OF_A_CHILD = """
import os, sys
from pathlib import Path
from flask_sse_hub import Publisher
path = Path(sys.argv[1])
publisher = Publisher(f"sqlite:///{path}", create=True)
publisher.publish("parent")
if os.fork():
    os.wait()
else:
    publisher.publish("child")
    ours = f" {os.getpid()} ", f":{path.stat().st_ino} "
    locks = Path("/proc/locks").read_text().splitlines()
    print(any(all(part in lock for part in ours) for lock in locks))
"""

CHILDREN_OF_A_BUSY_PARENT = """
import os, sys, threading
from flask_sse_hub import Publisher
publisher = Publisher("sqlite:///" + sys.argv[1], create=True)
publisher.publish("parent")
stop = threading.Event()

def busy():
    while not stop.is_set():
        publisher.publish("x" * 20_000)

thread = threading.Thread(target=busy)
thread.start()
failed = 0
for _ in range(10):
    child = os.fork()
    if child == 0:
        try:
            publisher.publish("child")
        except BaseException:
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
stop.set()
thread.join()
print(failed)
"""

FORK_WHILE_AN_APPEND_WAITS = """
import os, sqlite3, sys, threading
from flask_sse_hub import Publisher
from flask_sse_hub.runtime import native
publisher = Publisher("sqlite:///" + sys.argv[1], create=True)
publisher.publish("first")
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
waiting, pause = threading.Event(), native.pause
native.pause = lambda seconds: (waiting.set(), pause(seconds))
thread = threading.Thread(target=lambda: print(publisher.publish("second")))
thread.start()
waiting.wait(10.0)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
other.execute("COMMIT")
thread.join()
"""

FORK_AND_LOOK_AT_THE_LOG = """
import os, sys
from flask_sse_hub import Publisher
publisher = Publisher("sqlite:///" + sys.argv[1], create=True)
publisher.publish("x" * 20_000)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(os.path.getsize(sys.argv[1] + "-wal") > 20_000)
"""

LEAVE_A_CHILD = """
import os, sys
from flask_sse_hub import Publisher
Publisher("sqlite:///" + sys.argv[1], create=True).publish("x")
if os.fork() == 0:
    sys.stdin.readline()
os._exit(0)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "instance"
    folder.mkdir()
    return folder / "hub.db"


@pytest.fixture
def broker(path: Path) -> Iterator[SQLiteBroker]:
    broker = SQLiteBroker(path, KEEP_ALL)
    yield broker
    broker.close()


def run(script: str, path: Path) -> str:
    """Run a script in a process of its own; return its output."""
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60.0)
    return done.stdout.decode().strip()


def close(broker: SQLiteBroker) -> None:
    """Close a broker, and wait until its process no longer uses the file."""
    broker.close()
    wait_until(lambda: not broker._membership.held)


def test_a_process_that_closes_takes_nothing_from_others(
    path: Path, broker: SQLiteBroker
) -> None:
    """If the others had lost their locks, it would delete the write-ahead log."""
    ids = []
    for _ in range(3):
        ids.append(str(broker.publish(EVENT)))
        broker.head()
        ids.append(run(PUBLISH_AND_CLOSE, path))
    offsets = [int(each.rpartition("-")[2]) for each in ids]
    assert offsets == [1, 2, 3, 4, 5, 6]


def test_processes_that_start_together_begin_one_epoch(path: Path) -> None:
    """An old epoch must not go on, since its last ids may be lost."""
    first = SQLiteBroker(path, KEEP_ALL)
    before = first.publish(EVENT).epoch
    close(first)
    for _ in range(3):
        epochs = run(BEGIN, path).split()
        assert len(epochs) == 4
        (epoch,) = set(epochs)
        assert epoch not in {before, ""}
        before = epoch


def test_a_forked_child_has_locks_of_its_own(path: Path) -> None:
    """A child inherits SQLite's table of locks, and not the locks themselves."""
    if not Path("/proc/locks").exists():
        absent("/proc/locks", remedy="run this on Linux")
    assert run(LOCKS_OF_A_CHILD, path) == "True"


def test_a_fork_may_happen_at_any_moment(path: Path) -> None:
    """The parent may be in the middle of an append."""
    assert run(CHILDREN_OF_A_BUSY_PARENT, path) == "0"


def test_workers_that_only_serve_bound_the_log_of_publishers(path: Path) -> None:
    """A worker notes its retention when it starts, and publishers trim by it."""
    broker = SQLiteBroker(path, Retention(10, 3600.0, 10_000_000))
    HandHub(broker)
    publisher = Publisher(f"sqlite:///{path}")
    for _ in range(50):
        publisher.publish("x")
    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT COUNT(*) FROM record").fetchone()
    assert rows == 10
    publisher.close()
    broker.close()


def test_a_copy_of_an_earlier_epoch_gives_no_id_again(path: Path) -> None:
    """The copy is put back under a running process, some restarts later."""
    first = SQLiteBroker(path, KEEP_ALL)
    given = {first.publish(EVENT) for _ in range(3)}
    copy = path.with_name("copy")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    given |= {first.publish(EVENT) for _ in range(3)}
    close(first)
    second = SQLiteBroker(path, KEEP_ALL)
    given.add(second.publish(EVENT))
    for companion in ("hub.db-wal", "hub.db-shm"):
        path.with_name(companion).unlink(missing_ok=True)
    copy.replace(path)
    assert second.publish(EVENT) not in given
    second.close()


@pytest.mark.parametrize(
    "pattern", ["hub.db*", "hub.db.lock", "hub.db-*"], ids=["all", "lock", "companions"]
)
def test_removed_files_never_split_the_log(
    path: Path, broker: SQLiteBroker, pattern: str
) -> None:
    """All processes go on with one log, or their followers report a gap."""
    follower = broker.follow(broker.publish(EVENT))
    ids = []
    for each in path.parent.glob(pattern):
        if each.is_file():
            each.unlink()
    for _ in range(3):
        ids.append(run(PUBLISH_AND_CLOSE, path))
        ids.append(str(broker.publish(EVENT)))
    assert len(set(ids)) == 6
    heard: list[str] = []
    last = broker.head()
    for batch in follower:
        heard += [str(record.cursor) for record in batch.records]
        if batch.gap is not None:
            heard.clear()
        if batch.cursor == last:
            break
    assert heard == ids[len(ids) - len(heard) :]


def test_a_folder_that_is_removed_is_made_again(
    path: Path, broker: SQLiteBroker
) -> None:
    """A process that only follows makes it again too."""
    follower = broker.follow(broker.publish(EVENT))
    shutil.rmtree(path.parent)
    batch = next(follower)
    assert batch.gap is GapReason.EPOCH
    run(PUBLISH_AND_CLOSE, path)
    assert len(next(follower).records) == 1


def test_only_a_process_that_joins_alone_is_the_first(path: Path) -> None:
    """A process that joins beside another one is not; leaving undoes a join."""
    one, two = Membership(path), Membership(path)
    assert one.join()
    assert not two.join()
    one.leave()
    two.leave()
    assert not one.held
    assert one.join()
    one.leave()


class TestLinks:
    """A deployment tool puts a link into each release, to one file for all."""

    @pytest.fixture
    def link(self, path: Path, tmp_path: Path) -> Path:
        link = tmp_path / "release" / "hub.db"
        link.parent.mkdir()
        link.symlink_to(path)
        return link

    def test_processes_with_either_path_are_one_membership(
        self, broker: SQLiteBroker, link: Path
    ) -> None:
        """A job that uses the real path does not reset the clients of the app."""
        follower = broker.follow(broker.publish(EVENT))
        linked = SQLiteBroker(link, KEEP_ALL)
        cursor = linked.publish(EVENT)
        batch = next(follower)
        assert (batch.gap, batch.cursor) == (None, cursor)
        linked.close()

    def test_a_file_made_through_a_link_is_private(
        self, path: Path, link: Path
    ) -> None:
        """The link may lead to a file that does not exist yet."""
        linked = SQLiteBroker(link, KEEP_ALL)
        linked.publish(EVENT)
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in link.parent.iterdir()] == ["hub.db"]
        linked.close()


def test_copying_the_folder_ends_no_membership(
    path: Path, broker: SQLiteBroker, tmp_path: Path
) -> None:
    """A copy opens and closes the lock file, in the process that holds the lock."""
    epoch = broker.publish(EVENT).epoch
    shutil.copytree(
        path.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("*.bells")
    )
    assert run(PUBLISH_AND_CLOSE, path).startswith(epoch)


def test_a_child_does_not_keep_its_parents_membership(path: Path) -> None:
    """The child that outlives its parent may never use the log."""
    command = [sys.executable, "-c", LEAVE_A_CHILD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        assert parent.wait(60.0) == 0
        membership = Membership(path)
        # The parent may end before its child has run its first line.
        wait_until(membership.join)
        membership.leave()


def test_a_new_file_that_another_process_reads_is_waited_for(
    path: Path, broker: SQLiteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not wait at all before it changes how a new file is written."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE another (x)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM another").fetchall()

    def pause(seconds: float) -> None:
        if other.in_transaction:
            other.execute("COMMIT")

    monkeypatch.setattr(native, "pause", pause)
    assert broker.publish(EVENT).offset == 1
    other.close()


def test_a_fork_does_not_wait_for_another_process(path: Path) -> None:
    """The forking thread may be the event loop's, and its end may free the lock."""
    assert run(FORK_WHILE_AN_APPEND_WAITS, path).endswith("-2")


def test_a_fork_leaves_the_write_ahead_log(path: Path) -> None:
    """Copying the write-ahead log into the file would hold the event loop."""
    assert run(FORK_AND_LOOK_AT_THE_LOG, path) == "True"


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder that belongs to another user than root, where all may look."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root gives files away")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, _NOBODY, _NOBODY)
        yield Path(name)


def as_nobody(do: Callable[[], object]) -> bool:
    """Do something in a child of another user; return whether it worked."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            do()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def test_root_gives_the_files_of_a_log_to_the_folders_owner(
    folder_of_nobody: Path,
) -> None:
    """A script of root that publishes first does not lock the app's user out."""
    path = folder_of_nobody / "instance" / "log.db"

    def publish() -> None:
        with closing(SQLiteBroker(path, KEEP_ALL)) as theirs:
            theirs.publish(EVENT)

    with closing(SQLiteBroker(path, KEEP_ALL)) as ours:
        ours.publish(EVENT)
        door = Directory(path).doorbell()
        assert door is not None
        ours.publish(EVENT)
        made = [path.parent, *path.parent.rglob("*")]
        assert {each.name for each in made} > {path.name, f"{path.name}.lock"}
        assert {each.stat().st_uid for each in made} == {_NOBODY}
        assert door.wait(10.0)
        assert as_nobody(publish)
        assert door.wait(10.0)
        assert ours.head().offset == 3
        door.close()


def test_root_that_may_not_give_files_away_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some containers take this right from root. Publishing works all the same."""

    def chown(*_: object, **__: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "chown", chown, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    with closing(SQLiteBroker(tmp_path / "new" / "log.db", KEEP_ALL)) as broker:
        assert broker.publish(EVENT).offset == 1
