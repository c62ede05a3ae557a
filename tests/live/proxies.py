"""nginx, HAProxy and Caddy as processes of the test, with the blocks of the docs.

Only addresses, ports, paths, accounts and limits of docs/deploying.md are replaced, so
that the tests are about the text that people copy.
"""

import grp
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from tests.documented.samples import sample
from tests.kit.certificates import make_certificate
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.wire.real_parts import absent

#: The page with the configurations.
PAGE = "docs/deploying.md"

PROXIES = ["nginx", "haproxy", "caddy"]

#: The protocols that clients speak, and the option of curl for each.
#: The page's listeners have TLS; "plain" takes it away.
PROTOCOLS = {"plain": "--http1.1", "tls": "--http1.1", "http2": "--http2"}

#: The idle limit in all configurations of the page.
IDLE_LIMIT = "75s"

_COMMANDS = {
    "nginx": ["nginx", "-e", "stderr", "-g", "daemon off;", "-c"],
    # With a master, as Debian's unit starts it. The master hears the reload.
    "haproxy": ["haproxy", "-W", "-f"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config"],
}

_BLOCKS = {
    "nginx": sample(PAGE, "nginx", with_="worker_processes"),
    "haproxy": sample(PAGE, "haproxy", with_="global"),
    "caddy": sample(PAGE, "caddyfile", with_="reverse_proxy"),
}

# The answer of HAProxy while no worker listens.
_AWAY = sample(PAGE, "http", with_="retry:")

# Folders of the page's files. Here all files are in the folder of the proxy.
_FOLDERS = [
    "/etc/ssl/app.example.com/",
    "/etc/haproxy/",
    "/var/log/nginx/",
    "/run/",
    "/var/lib/caddy/",
]

# Replacements for a listener without TLS, as the page describes it for a proxy behind
# another one that ends TLS.
_WITHOUT_TLS = {
    "nginx": {" ssl http2;": ";"},
    "haproxy": {
        " ssl crt /etc/haproxy/app.example.com.pem alpn h2,http/1.1": "",
        "    http-request redirect scheme https code 308 unless { ssl_fc }\n": "",
    },
    "caddy": {
        "app.example.com {": "http://app.example.com {",
        "http_port 80": "http_port 443",
        "https_port 443": "https_port 80",
        "\ttls /etc/ssl/app.example.com/cert.pem"
        " /etc/ssl/app.example.com/key.pem\n": "",
    },
}


class Proxy:
    """A proxy in front of a server, as long as its block lasts.

    ``protocol`` is the protocol of its clients. ``edit`` replaces further texts of the
    page, for a test that needs another limit, or shows why a line is there.
    """

    def __init__(
        self,
        kind: str,
        server_port: int,
        *,
        protocol: str = "http2",
        edit: dict[str, str] | None = None,
    ) -> None:
        for program in (kind, "curl"):
            if shutil.which(program) is None:
                absent(program, remedy=f"apt-get install {program}")
        tls = protocol != "plain"
        self.kind = kind
        self.port = free_port()
        self._redirecting_port = free_port()
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        #: The address without TLS that redirects to TLS.
        self.redirecting_url = f"http://localhost:{self._redirecting_port}"
        self.protocol = protocol
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._configuration = self.folder / "configuration"
        self._configuration.write_text(self._configure(server_port, tls, edit or {}))

    def _configure(self, server_port: int, tls: bool, edit: dict[str, str]) -> str:
        code, away = _BLOCKS[self.kind], _AWAY
        for old, new in {**({} if tls else _WITHOUT_TLS[self.kind]), **edit}.items():
            assert old in code + away, old
            code, away = code.replace(old, new), away.replace(old, new)
        (self.folder / "away.http").write_text(away)
        code = code.replace("127.0.0.1:8000", f"{HOST}:{server_port}")
        for folder in _FOLDERS:
            code = code.replace(folder, f"{self.folder}/")
        return self._listen(code).replace("app.example.com", "localhost")

    def _listen(self, code: str) -> str:
        """Replace the addresses to listen on, and the accounts to run as."""
        user = pwd.getpwuid(os.getuid())
        group = grp.getgrgid(user.pw_gid).gr_name
        for port, ours in (("80", self._redirecting_port), ("443", self.port)):
            if self.kind == "nginx":
                code = code.replace(f"listen {port}", f"listen {HOST}:{ours}")
                # A machine without IPv6 has this address too.
                code = code.replace(f"listen [::]:{port}", f"listen 127.0.0.2:{ours}")
            elif self.kind == "haproxy":
                code = code.replace(f"bind :::{port} v4v6", f"bind {HOST}:{ours}")
            else:
                code = re.sub(rf"(https?_port) {port}\b", rf"\1 {ours}", code)
        if self.kind == "nginx":
            # Only root can write to the folder of Debian's nginx for bodies.
            kept = f"http {{\n    client_body_temp_path {self.folder}/bodies;\n"
            code = code.replace("http {\n", kept, 1)
            return code.replace("user www-data;", f"user {user.pw_name} {group};")
        if self.kind == "haproxy":
            code = code.replace("user haproxy", f"user {user.pw_name}")
            # HAProxy needs two descriptors for each. Some users may not have so many.
            code = code.replace("maxconn 12000", "maxconn 400")
            return code.replace("group haproxy", f"group {group}")
        return re.sub(
            r"^((?:http://)?app.example.com {\n)",
            rf"\1\tbind {HOST}\n",
            code,
            flags=re.M,
        )

    def __enter__(self) -> Self:
        try:
            self._write_files()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop()
        finally:
            self._folder.cleanup()

    def _write_files(self) -> None:
        make_certificate(self.folder)
        both = [self.folder / "cert.pem", self.folder / "key.pem"]
        (self.folder / "localhost.pem").write_text(
            "".join(each.read_text() for each in both)
        )

    def start(self) -> None:
        """Start the proxy, and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_COMMANDS[self.kind], str(self._configuration)],
                cwd=self.folder,
                env=self._environ(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens)

    def _environ(self) -> dict[str, str]:
        # Caddy keeps its state in the home directory.
        folders = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]
        return os.environ | dict.fromkeys(folders, str(self.folder))

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with suppress(OSError):
            socket.create_connection((HOST, self.port)).close()
            return True
        return False

    def stop(self) -> None:
        """End the proxy and all its streams at once."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
            # Its children too, such as workers that still serve streams.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(DEADLINE)

    def reload(self) -> None:
        """Reload the configuration, as the reload of the proxy's service does."""
        assert self.process is not None
        if self.kind == "caddy":
            words = ["caddy", "reload", "--force", "--adapter", "caddyfile"]
            subprocess.run(
                [*words, "--config", str(self._configuration)],
                env=self._environ(),
                check=True,
                capture_output=True,
                timeout=60,
            )
        else:
            number = signal.SIGHUP if self.kind == "nginx" else signal.SIGUSR2
            self.process.send_signal(number)

    @property
    def log(self) -> str:
        """The output of the proxy."""
        return (self.folder / "log").read_text()

    def ask(
        self, path: str, *words: str, at: str | None = None, **headers: str
    ) -> "Curl":
        """Make a request, and return when the head of the answer has arrived."""
        for name, value in headers.items():
            words += ("--header", f"{name.replace('_', '-')}: {value}")
        trusted = ["--cacert", str(self.folder / "cert.pem")]
        return Curl(
            f"{at or self.url}{path}", PROTOCOLS[self.protocol], *trusted, *words
        )

    def stream(self, path: str, *words: str, **headers: str) -> StreamReader:
        """Open a stream."""
        answer = self.ask(path, *words, **headers)
        assert answer.status == 200, answer.body()
        return StreamReader(answer)


class Curl(Iterator[bytes]):
    """One request by curl, as an operator makes it, and the chunks of the answer."""

    def __init__(self, url: str, *words: str) -> None:
        given = ["--silent", "--show-error", "--no-buffer", "--include", "--ipv4"]
        # After a test that fails, curl ends by itself.
        given += ["--max-time", "100", "--noproxy", "*"]
        self._process = subprocess.Popen(
            ["curl", *given, *words, url], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        # Held during each read, so that the output is not closed meanwhile.
        self._reading = threading.Lock()
        head = b""
        while b"\r\n\r\n" not in head:
            ready, _, _ = select.select([self._output], [], [], DEADLINE)
            chunk = os.read(self._output.fileno(), 65536) if ready else b""
            if not chunk:
                self.close()
                raise AssertionError(f"no answer from {url}: {head!r}")
            head += chunk
        self.head, _, self._first = head.partition(b"\r\n\r\n")
        self.version, status = self.head.split()[:2]
        self.status = int(status)

    def __next__(self) -> bytes:
        chunk, self._first = self._first, b""
        with self._reading:
            if not chunk and not self._output.closed:
                chunk = os.read(self._output.fileno(), 65536)
        if not chunk:
            raise StopIteration
        return chunk

    def complete(self) -> bool:
        """Wait for the end of the answer, and tell whether curl takes it as whole."""
        return self._process.wait(DEADLINE) == 0

    def body(self) -> bytes:
        """Return the whole body."""
        with closing(self):
            return b"".join(self)

    def close(self) -> None:
        """Leave as a client that is closed."""
        self._process.kill()
        self._process.wait(DEADLINE)
        with self._reading:
            self._output.close()
