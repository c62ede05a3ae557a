"""A stream through Apache's mod_proxy_http, as docs/deploying.md configures it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import yaml

from tests.documented.samples import sample
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.live.proxies import PAGE, Curl
from tests.live.server import Server
from tests.wire.real_parts import absent

HOST_BLOCK = sample(PAGE, "apache", with_="ProxyPass")
TRAEFIK = sample(PAGE, "yaml", with_="responseForwarding")

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

_MODULES = {
    "mpm_event", "authz_core", "proxy", "proxy_http", "headers", "setenvif"
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(heartbeat_interval=0.5) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Apache in front of the server."""
    if shutil.which("apache2") is None:
        absent("apache2", remedy="apt-get install apache2")
    folder, port = tmp_path_factory.mktemp("apache"), free_port()
    modules = Path("/usr/lib/apache2/modules")
    block = "\n".join(
        line for line in HOST_BLOCK.splitlines() if not line.strip().startswith(_TLS)
    )
    for old, new in (
        ("*:443", f"*:{port}"),
        ("127.0.0.1:8000", f"{HOST}:{server.port}"),
    ):
        assert old in block
        block = block.replace(old, new)
    loads = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in sorted(_MODULES)
    )
    account = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    configuration = folder / "apache.conf"
    text = _SERVER.format(folder=folder, host=HOST, port=port)
    configuration.write_text(loads + text + account + block)
    process = subprocess.Popen(
        ["apache2", "-f", str(configuration), "-D", "FOREGROUND"]
    )
    address = f"http://{HOST}:{port}"
    try:
        wait_until(lambda: answers(address))
        yield address
    finally:
        process.terminate()
        process.wait(DEADLINE)


def answers(address: str) -> bool:
    with suppress(AssertionError), closing(Curl(f"{address}/events")) as answer:
        return answer.status == 401
    return False


@pytest.mark.live
def test_events_pass_at_once_and_a_client_that_leaves_is_noticed(
    url: str, server: Server
) -> None:
    """Each event comes before the next is published; a ping tells of the end."""
    answer = Curl(f"{url}/events", "--header", "Authorization: Bearer alice")
    with StreamReader(answer) as stream:
        stream.next("connected")
        for number in range(3):
            server.publish(str(number))
            assert stream.data(1) == [str(number)]
    wait_until(lambda: server.stats()["connections"] == 0)


def test_the_block_for_traefik_is_yaml() -> None:
    """Its router names its service, which passes bytes on at once."""
    read = yaml.safe_load(TRAEFIK)["http"]
    service = read["services"][read["routers"]["app"]["service"]]["loadBalancer"]
    assert service["responseForwarding"]["flushInterval"] == "1ms"
