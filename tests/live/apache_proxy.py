"""Apache's mod_proxy_http as a process of the test, with the block of the docs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.documented.samples import sample
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until
from tests.live.proxies import PAGE, Curl
from tests.wire.real_parts import absent

_BLOCK = sample(PAGE, "apache", with_="ProxyPass")

_TLS = ("SSL", "Protocols")

_SERVER = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/httpd.pid
ErrorLog {folder}/errors
Listen {host}:{port}
ThreadsPerChild 10
ServerLimit 1
MaxRequestWorkers 10
"""

_MODULES = (
    "mpm_event", "authz_core", "proxy", "proxy_http", "headers", "setenvif",
    "filter", "deflate",
)  # fmt: skip


@contextmanager
def apache_proxy(
    server_port: int, *, edit: dict[str, str] | None = None
) -> Iterator[str]:
    """Run Apache in front of a server, and yield its address.

    ``edit`` replaces texts of the page, for a test of a misconfigured one.
    """
    if shutil.which("apache2") is None:
        absent("apache2", remedy="apt-get install apache2")
    port = free_port()
    address = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "apache.conf"
        ours = {"*:443": f"*:{port}", "127.0.0.1:8000": f"{HOST}:{server_port}"}
        configuration.write_text(
            _server(folder, port) + _edited(_BLOCK, {**ours, **(edit or {})})
        )
        process = subprocess.Popen(
            ["apache2", "-f", str(configuration), "-D", "FOREGROUND"]
        )
        try:
            wait_until(lambda: _answers(address))
            yield address
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _server(folder: str, port: int) -> str:
    """Return the part of the configuration that Debian's packages bring."""
    loads = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in _MODULES
    )
    account = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    return loads + _SERVER.format(folder=folder, host=HOST, port=port) + account


def _edited(block: str, edit: dict[str, str]) -> str:
    lines = [line for line in block.splitlines() if not line.strip().startswith(_TLS)]
    block = "\n".join(lines) + "\n"
    for old, new in edit.items():
        assert old in block, old
        block = block.replace(old, new)
    return block


def _answers(address: str) -> bool:
    with suppress(AssertionError), closing(Curl(f"{address}/events")) as answer:
        return answer.status == 401
    return False
