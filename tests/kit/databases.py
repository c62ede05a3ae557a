"""Databases of an app for tests: SQLite files, a real PostgreSQL, a real MariaDB.

Each server is one child process with a small folder of its own, and does not wait for
the disk. A test gets a database of its own in it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until
from tests.wire.real_parts import absent


class DatabaseServer:
    """One server, in which each call of ``new_url()`` makes a database."""

    #: The program, and the package that has it.
    program = ""
    package = ""
    #: The signal of a quick stop.
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self._program = found = self._find()
        if found is None:
            absent(self.program, remedy=f"apt-get install {self.package}")
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def _find(self) -> str | None:
        return shutil.which(self.program, path=f"{os.environ['PATH']}:/usr/sbin")

    @property
    def _user(self) -> str | None:
        """The user of the server: it refuses to run as root."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            if self._user is not None:
                shutil.chown(self.folder, self._user)
            self._run(self._initialise())
            with (self.folder / "log").open("w") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    cwd=self.folder,
                    user=self._user,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            wait_until(self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(DEADLINE)
        self._folder.cleanup()

    def new_url(self) -> str:
        """Make a database, and return its URL for SQLAlchemy."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _execute(self, statement: str) -> None:
        engine = create_engine(
            self._url(self._first), poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with suppress(OperationalError):
            self._execute("SELECT 1")
            return True
        return False

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(
            command, cwd=self.folder, user=self._user, capture_output=True, check=True
        )

    _first = ""

    def _initialise(self) -> Sequence[str]:
        raise NotImplementedError

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _url(self, name: str) -> str:
        raise NotImplementedError


class PostgreSQL(DatabaseServer):
    """A PostgreSQL that can prepare transactions."""

    program = "postgres"
    package = "postgresql"
    # Ends sessions that are still open.
    stop_signal = signal.SIGINT
    _first = "postgres"

    def _find(self) -> str | None:
        # Debian keeps the programs of each version in a folder of its own.
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        path = ":".join([os.environ["PATH"], *map(str, folders)])
        return shutil.which("initdb", path=path)

    @property
    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None

    def _initialise(self) -> Sequence[str]:
        options = ["--auth=trust", "--username=test", "--no-sync", "--encoding=UTF8"]
        return [str(self._program), "--pgdata=data", *options]

    def _command(self) -> Sequence[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "8MB",
            "max_prepared_transactions": "4",
        }
        given = [part for each in settings.items() for part in ("-c", "=".join(each))]
        return [
            str(Path(str(self._program)).with_name("postgres")),
            "-D",
            "data",
            *given,
        ]

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://test@{HOST}:{self.port}/{name}"


class MariaDB(DatabaseServer):
    """A MariaDB."""

    program = "mariadbd"
    package = "mariadb-server"
    _first = "mysql"

    @property
    def _user(self) -> str | None:
        return "mysql" if os.geteuid() == 0 else None

    def _initialise(self) -> Sequence[str]:
        return [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]

    def _command(self) -> Sequence[str]:
        return [
            str(self._program),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            f"--port={self.port}",
            f"--bind-address={HOST}",
            "--innodb-buffer-pool-size=8M",
            "--innodb-log-file-size=4M",
            "--innodb-flush-log-at-trx-commit=0",
            "--key-buffer-size=8K",
        ]

    def _url(self, name: str) -> str:
        return f"mysql+pymysql://root@{HOST}:{self.port}/{name}?charset=utf8mb4"


Databases = Callable[[str], str]
