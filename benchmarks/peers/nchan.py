"""nginx with nchan, one worker."""

import shutil
import socket
import subprocess
import threading
from pathlib import Path

from benchmarks.peers.base import Peer, PeerDied
from tests.kit.ports import HOST

#: The module's path in Debian's package libnginx-mod-nchan.
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_TEMPLATE = Path(__file__).with_name("nchan.conf")

_SECONDS = 60.0


class Nchan(Peer):
    """nchan. Each event is published by its own POST, since nchan has no other way."""

    name = "nchan"
    label = "nginx + nchan"
    path = "/events?channel=all"
    channel_path = "/events?channel=c%d"

    @classmethod
    def absence(cls) -> str | None:
        """Return why Debian's nginx or the module is missing, or None."""
        if shutil.which("nginx") is None:
            return "nginx is not installed"
        return None if _MODULE.exists() else f"there is no {_MODULE}"

    @classmethod
    def version(cls) -> str:
        """Return the version of nginx, and of the module's package."""
        said = _output("nginx", "-v").rpartition("/")[2]
        module = ""
        if shutil.which("dpkg-query"):
            module = _output("dpkg-query", "-Wf", "${Version}", "libnginx-mod-nchan")
        return f"nginx {said}, nchan {module}".strip()

    def start(self) -> None:
        """Run nginx in the foreground, with all its files in the folder."""
        config = _TEMPLATE.read_text()
        for name, value in {"MODULE": _MODULE, "PORT": self.port}.items():
            config = config.replace(name, str(value))
        path = self.folder / "nginx.conf"
        path.write_text(config)
        self.run(["nginx", "-p", self.folder, "-c", path, "-e", "stderr"])

    def publish_burst(
        self, data: bytes, count: int, *, channel: int | None = None
    ) -> None:
        """Publish all events on one connection, without waiting for each answer."""
        name = "all" if channel is None else f"c{channel}"
        target = f"/publish?channel={name}"
        if count == 1:
            self.request("POST", target, data)
            return
        request = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            target.encode(),
            HOST.encode(),
            len(data),
            data,
        )
        with socket.create_connection((HOST, self.port), timeout=_SECONDS) as to:
            # Write while reading: neither side can buffer everything the other sends.
            writer = threading.Thread(target=to.sendall, args=(request * count,))
            writer.start()
            answered, rest = 0, b""
            while answered < count:
                chunk = to.recv(1 << 20)
                if not chunk:
                    raise PeerDied(f"{self.label} has closed the connection")
                # The status is 201 with subscribers and 202 without. The text after the
                # last status may be the beginning of another answer.
                *whole, rest = (rest + chunk).split(b"HTTP/1.1 20")
                answered += len(whole)
            writer.join()


def _output(*command: str) -> str:
    """Return the output of a program, on standard output or standard error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
