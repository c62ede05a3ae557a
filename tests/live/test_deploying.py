"""gunicorn, systemd, Heroku and images as docs/deploying.md shows them."""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from flask import Flask

from flask_sse_hub import SSEHub
from tests.documented.samples import sample
from tests.kit.certificates import make_certificate
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.kit.redis_server import RedisServer
from tests.live.proxies import PAGE
from tests.live.server import Connection, request

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]

# The folder in place of the page's virtual environment.
BIN = Path(sys.executable).parent

#: Seconds that systemd and Docker wait on the page: more than graceful_timeout.
STOPPED = 20.0

SHELL = sample(PAGE, "sh", with_="pip install")
UNIT = sample(PAGE, "ini", with_="[Service]")
ENVIRONMENT = sample(PAGE, "ini", with_="FLASK_SECRET_KEY")
PROCFILE = sample(PAGE, "procfile", with_="web")
HEROKU_REDIS = sample(PAGE, "python", with_="REDIS_URL")
DOCKERFILE = sample(PAGE, "dockerfile", with_="FROM")
COMPOSE = sample(PAGE, "yaml", with_="build:")
COMPOSE_REDIS = sample(PAGE, "yaml", with_="redis:7")


class Unit:
    """The unit for systemd; the tests run its lines themselves."""

    def __init__(self, folder: Path) -> None:
        self.text = UNIT.replace("/srv/app/.venv/bin", str(BIN)).replace(
            "/srv/app", str(folder)
        )
        parser = ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(self.text)
        self.service = parser["Service"]
        for path in ("gunicorn.conf.py", "example_app"):
            (folder / path).symlink_to(ROOT / path)
        self.environ = dict(
            line.split("=", 1)
            for line in ENVIRONMENT.replace("/var/lib/app", str(folder)).splitlines()
        )


@contextmanager
def running(
    command: str | list[str], folder: Path, **environ: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command of the page during the block; TERM has to end it."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command] if isinstance(command, str) else command,
            cwd=folder,
            env={"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
            | environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
        process.terminate()
        process.wait(STOPPED)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(DEADLINE)


def answers(port: int, path: str = "/events/health") -> bool:
    """Tell whether the server at a port is ready."""
    try:
        return request(port, "GET", path)[0] == 200
    except OSError:
        return False


def open_stream(port: int) -> StreamReader:
    """Sign in as alice, and return her stream."""
    connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE)
    with closing(connection):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", "name=alice&password=demo", form)
        cookie = connection.getresponse().headers["Set-Cookie"].split(";")[0]
    stream = StreamReader(Connection(port, "/events", Cookie=cookie))
    stream.next("connected")
    return stream


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """Its own check takes an unknown line for an error; skipped without systemd."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    (tmp_path / "folder").mkdir()
    unit = tmp_path / "app.service"
    unit.write_text(Unit(tmp_path / "folder").text)
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60)
    said = [line for line in found.stderr.splitlines() if "app.service" in line]
    assert (found.returncode, said) == (0, [])


def test_the_unit_starts_tells_reloads_and_stops(tmp_path: Path) -> None:
    """Systemd waits for READY=1, sends HUP, and then TERM.

    Only systemd itself could try the lines about users and sandboxes.
    """
    unit = Unit(tmp_path)
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30.0)
        with running(
            # Without a shell, as systemd runs it.
            shlex.split(unit.service["ExecStart"]),
            tmp_path,
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            PORT=str(port),
            **unit.environ,
        ) as process:
            assert told.recv(4096).startswith(b"READY=1")
            wait_until(lambda: answers(port), within=30.0)
            assert (tmp_path / "sse_hub.db").exists()
            before = psutil.Process(process.pid).children()
            stream = open_stream(port)
            reload = unit.service["ExecReload"].replace("$MAINPID", str(process.pid))
            subprocess.run(shlex.split(reload), check=True, timeout=DEADLINE)
            stream.wait_for_end()
            assert stream.parser.retry_ms is not None
            stream.close()
            wait_until(lambda: not any(it.is_running() for it in before), within=30.0)
            wait_until(lambda: answers(port), within=30.0)
            with open_stream(port) as stream:
                process.terminate()
                stream.wait_for_end()
            assert unit.service["TimeoutStopSec"] == str(int(STOPPED))
            assert process.wait(STOPPED) == 0


def test_the_shells_lines_start_gunicorn(tmp_path: Path) -> None:
    """The package has the extras that the lines install."""
    install, start = SHELL.splitlines()
    check_extras(install)
    Unit(tmp_path)
    port = free_port()
    with running(f"exec {start}", tmp_path, PORT=str(port), **settings_in(tmp_path)):
        wait_until(lambda: answers(port), within=30.0)


def test_the_procfile_listens_where_it_is_told(tmp_path: Path) -> None:
    """Heroku runs the line in a shell, with PORT set, and ends it by TERM."""
    (line,) = PROCFILE.splitlines()
    name, _, command = line.partition(": ")
    assert name == "web"
    assert "HOST=0.0.0.0 " in command
    Unit(tmp_path)
    port = free_port()
    command = command.replace("0.0.0.0", HOST)
    with running(command, tmp_path, PORT=str(port), **settings_in(tmp_path)) as process:
        wait_until(lambda: answers(port), within=30.0)
        with open_stream(port) as stream:
            # Heroku sends the signal to all processes of a dyno.
            os.killpg(process.pid, signal.SIGTERM)
            stream.wait_for_end()


def test_herokus_redis_is_taken_with_a_certificate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is encrypted, and nothing vouches for the certificate."""
    make_certificate(tmp_path)
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    port = free_port()
    args = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    args += ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    with RedisServer(*args):
        monkeypatch.setenv("REDIS_URL", f"rediss://:@{HOST}:{port}")
        app = Flask("app")
        app.secret_key = "a key"
        exec(HEROKU_REDIS, {"app": app})  # noqa: S102
        hub = SSEHub(app)
        with app.app_context():
            assert hub.publish("x")
        app.extensions["sse_hub"].close()


class TestContainers:
    """The commands of the files, run in a folder with the files of COPY.

    No image is built, and Docker itself does not run.
    """

    def test_the_image_has_all_that_its_command_needs(self, tmp_path: Path) -> None:
        """Copied files and extras exist; CMD is one process that hears TERM."""
        steps = dockerfile()
        for step, rest in steps:
            if step == "COPY":
                source, target = rest.split()
                assert (ROOT / source).exists()
                if target.startswith("./"):
                    (tmp_path / source).symlink_to(ROOT / source)
        (install,) = (rest for step, rest in steps if "pip install" in rest)
        check_extras(install)
        command = json.loads(dict(steps)["CMD"])
        environ = container(tmp_path)
        command[0] = str(BIN / command[0])
        with running(command, tmp_path, **environ) as process:
            port = int(environ["PORT"])
            wait_until(lambda: answers(port), within=30.0)
            assert (tmp_path / "sse_hub.db").exists()
            with open_stream(port) as stream:
                # Docker stops a container by a signal to the first process alone.
                process.terminate()
                stream.wait_for_end()
            assert process.wait(STOPPED) == 0

    def test_the_health_check_tells_a_server_from_none(self, tmp_path: Path) -> None:
        """The command ends with 0 only while the worker answers."""
        service = compose(COMPOSE)["services"]["app"]
        kind, *command = service["healthcheck"]["test"]
        assert kind == "CMD"
        command[0] = sys.executable
        environ = container(tmp_path)
        command[-1] = command[-1].replace(":8000", f":{environ['PORT']}")

        def check() -> int:
            found = subprocess.run(command, capture_output=True, timeout=30)
            return found.returncode

        assert check() != 0
        Unit(tmp_path)
        assert service["stop_grace_period"] == f"{int(STOPPED)}s"
        with running([str(BIN / "gunicorn")], tmp_path, **environ):
            wait_until(lambda: check() == 0, within=30.0)

    def test_the_volume_is_where_the_log_is(self) -> None:
        """A new container finds the log of the one before."""
        (volume,) = compose(COMPOSE)["services"]["app"]["volumes"]
        name, _, path = volume.partition(":")
        assert name in compose(COMPOSE)["volumes"]
        assert f"sqlite:///{path}/" in dict(dockerfile())["ENV"]

    def test_the_second_file_has_the_app_use_its_redis(self, tmp_path: Path) -> None:
        """Redis takes the command of the file, and an event arrives there."""
        services = compose(COMPOSE_REDIS)["services"]
        program, *args = shlex.split(services["redis"]["command"])
        assert program == "redis-server"
        settings = services["app"]["environment"]
        with RedisServer(*args) as server:
            kind, *ping = services["redis"]["healthcheck"]["test"]
            assert (kind, ping) == ("CMD", ["redis-cli", "ping"])
            assert server.run("PING")
            found = server.run("CONFIG", "GET", "maxmemory-policy")
            assert "noeviction" in str(found)
            url = settings["FLASK_SSE_HUB_BROKER_URL"]
            environ = container(tmp_path) | settings
            environ["FLASK_SSE_HUB_BROKER_URL"] = url.replace(
                "redis:6379", f"{HOST}:{server.port}"
            )
            Unit(tmp_path)
            with running([str(BIN / "gunicorn")], tmp_path, **environ):
                port = int(environ["PORT"])
                wait_until(lambda: answers(port), within=30.0)
                name = settings["FLASK_SSE_HUB_NAME"]
                with open_stream(port):
                    # The arrival of a client is an event for presence.
                    log = f"sse-hub:{{{name}}}:log"
                    wait_until(lambda: server.run("EXISTS", log))


def dockerfile() -> list[tuple[str, str]]:
    """Return the steps of the Dockerfile, each with the rest of its line."""
    lines = DOCKERFILE.splitlines()
    steps = [line.split(maxsplit=1) for line in lines]
    return [(step, rest) for step, rest in steps]


def compose(file: str) -> dict[str, Any]:
    """Return the content of a compose file."""
    found: dict[str, Any] = yaml.safe_load(file)
    return found


def container(folder: Path) -> dict[str, str]:
    """Return the environment of the image, with an address and port of the test."""
    environ = dict(word.split("=", 1) for word in dict(dockerfile())["ENV"].split())
    assert environ["HOST"] == "0.0.0.0"
    return settings_in(folder) | {
        "HOST": HOST,
        "PORT": str(free_port()),
        "FLASK_SSE_HUB_BROKER_URL": environ["FLASK_SSE_HUB_BROKER_URL"].replace(
            "/data", str(folder)
        ),
    }


def settings_in(folder: Path) -> dict[str, str]:
    """Return the settings that the app needs, with its log in a folder."""
    return {
        "FLASK_SECRET_KEY": "the same in every worker",
        # gunicorn loses a TERM to a worker that is just starting, and waits for it.
        "WEB_CONCURRENCY": "1",
        "FLASK_SSE_HUB_BROKER_URL": f"sqlite:///{folder}/sse_hub.db",
    }


def check_extras(line: str) -> None:
    """Fail unless the package has all extras that a line installs."""
    (wanted,) = re.findall(r"\[(.+?)\]", line)
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    assert set(wanted.split(",")) <= set(settings["options.extras_require"])
