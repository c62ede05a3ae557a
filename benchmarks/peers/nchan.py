"""nginx with nchan, one worker."""

import shutil
import socket
import subprocess
import threading
from pathlib import Path

from benchmarks.peers.base import Peer, PeerDied
from tests.ports import HOST

#: Where Debian's libnginx-mod-nchan puts it.
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_TEMPLATE = Path(__file__).with_name("nchan.conf")

_SECONDS = 60.0


class Nchan(Peer):
    """Events are published by a POST each: nchan has no other way."""

    name = "nchan"
    label = "nginx + nchan"
    path = "/events?channel=all"
    channel_path = "/events?channel=c%d"

    @classmethod
    def absence(cls) -> str | None:
        """It needs Debian's nginx and its module."""
        if shutil.which("nginx") is None:
            return "nginx is not installed"
        return None if _MODULE.exists() else f"there is no {_MODULE}"

    @classmethod
    def version(cls) -> str:
        """Return nginx's own, and the package's of the module."""
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
        """Publish all on one connection, without waiting for any answer in between."""
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
            # Beside the reading: neither side has room for all that the other says.
            writer = threading.Thread(target=to.sendall, args=(request * count,))
            writer.start()
            answered, rest = 0, b""
            while answered < count:
                chunk = to.recv(1 << 20)
                if not chunk:
                    raise PeerDied(f"{self.label} has closed the connection")
                # 201 with subscribers, 202 without. What comes after the last one may
                # be the beginning of another.
                *whole, rest = (rest + chunk).split(b"HTTP/1.1 20")
                answered += len(whole)
            writer.join()


def _output(*command: str) -> str:
    """Return what a program prints, wherever it does so."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
