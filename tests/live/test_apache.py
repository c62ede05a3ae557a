"""A stream through Apache's mod_proxy_http, as docs/deploying.md configures it."""

from collections.abc import Iterator

import pytest
import yaml

from tests.documented.samples import sample
from tests.kit.reader import StreamReader, wait_until
from tests.live.apache_proxy import apache_proxy
from tests.live.proxies import PAGE, Curl
from tests.live.server import Server

TRAEFIK = sample(PAGE, "yaml", with_="responseForwarding")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(heartbeat_interval=0.5) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[str]:
    """The address of Apache in front of the server."""
    with apache_proxy(server.port) as address:
        yield address


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
