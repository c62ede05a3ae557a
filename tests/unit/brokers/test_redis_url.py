"""The Redis broker: the URLs that it takes, and their options."""

import re
import socket
import subprocess
from pathlib import Path

import pytest
from redis.sentinel import SentinelConnectionPool

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import check_url
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.brokers.redis.url import _IGNORED, connector
from tests.documented.samples import ROOT
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer, SentinelServer
from tests.unit.brokers.redis_logs import Open, publish, works


class TestUrls:
    def test_a_url_with_a_password(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The right password works, and the error about a wrong one hides it."""
        url = f"redis://:s3cret@{HOST}:{server.port}/0"
        server.run("CONFIG", "SET", "requirepass", "s3cret")
        publish(open_broker(url))
        with pytest.raises(BrokerUnavailable) as caught:
            publish(open_broker(url.replace("s3cret", "wr0ng")))
        assert "wr0ng" not in str(caught.value)

    def test_a_url_with_a_database(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The log is written to the database of the URL's number."""
        publish(open_broker(f"redis://{HOST}:{server.port}/3"))
        assert server.run("DBSIZE") == 0

    def test_a_url_of_a_unix_socket(self, open_broker: Open) -> None:
        """A Redis on the same machine needs no port."""
        with RedisServer("--unixsocket", "redis.sock") as server:
            publish(open_broker(f"unix://{server.folder}/redis.sock?db=0"))
            assert server.run("EXISTS", "sse-hub:{app}:log") == 1

    def test_a_url_with_tls(self, open_broker: Open, tmp_path: Path) -> None:
        """The server is trusted by the certificate in the URL, and not without it."""
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
        )
        files = ["-keyout", str(key), "-out", str(certificate)]
        names = ["-addext", f"subjectAltName=IP:{HOST}"]
        subprocess.run(
            [*command.split(), *files, *names], check=True, stderr=subprocess.DEVNULL
        )
        tls_port = free_port()
        files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        args = ["--tls-port", str(tls_port), "--tls-auth-clients", "no", *files]
        with RedisServer(*args, "--tls-ca-cert-file", str(certificate)):
            url = f"rediss://{HOST}:{tls_port}/0"
            publish(open_broker(f"{url}?ssl_ca_certs={certificate}"))
            with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
                publish(open_broker(url))

    def test_a_url_of_sentinels_leads_to_the_master(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """After a failover, it leads to the new master without help."""
        with (
            RedisServer("--replicaof", f"{HOST} {server.port}") as replica,
            SentinelServer("main", server) as sentinel,
        ):
            broker = open_broker(f"redis+sentinel://{HOST}:{sentinel.port}/main/0")
            last = publish(broker)
            follower = broker.follow(last)
            wait_until(lambda: replica.run("EXISTS", "sse-hub:{app}:log"))
            wait_until(lambda: sentinel.run("SENTINEL", "REPLICAS", "main"))
            server.kill()
            wait_until(lambda: works(broker), within=30.0)
            batch = next(follower)
            assert (batch.gap, batch.records[0].content) == (None, Event("x"))

    def test_the_documented_options_of_a_shared_url_are_accepted(
        self, open_broker: Open, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An app that shares its URL with other libraries starts and works."""
        caplog.set_level("INFO")
        rows = re.findall(r"\| (`.+) \| (\w+)", (ROOT / "docs/brokers.md").read_text())
        ignored = {
            name
            for names, what in rows
            if what == "ignored"
            for name in re.findall(r"`(\w+)`", names)
        }
        assert ignored == _IGNORED
        query = "&".join(f"{name}=3" for name in sorted(ignored))
        broker = open_broker(f"redis://{HOST}:{server.port}?{query}&client_name=mine")
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1
        with server.connect() as client:
            assert "mine" in [each["name"] for each in client.client_list()]
        assert caplog.text.count(", ".join(sorted(ignored))) == 1

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("redis://host?foo=1", "option 'foo'"),
            ("redis://host?retry=1", "option 'retry'"),
            ("redis://host?ssl_cert_reqs=none", "rediss://"),
            ("rediss://host?ssl_cert_reqs=maybe", "cannot be used"),
            ("rediss://host?ssl_ocsp_context=1", "option 'ssl_ocsp_context'"),
            ("unix:///run/redis.sock?path=/x", "option 'path'"),
            ("redis+sentinel://host/main?db=1", "takes no options"),
        ],
    )
    def test_an_option_that_cannot_be_honoured_is_refused_by_name(
        self, url: str, says: str
    ) -> None:
        """The error names the option, not the insides of redis-py."""
        with pytest.raises(ValueError, match=re.escape(says)) as caught:
            check_url(url)
        assert "__init__" not in str(caught.value)

    @pytest.mark.parametrize(
        ("place", "host", "port"),
        [
            ("[::1]:26380", "::1", 26380),
            ("[fe80::1]", "fe80::1", 26379),
            ("host:1", "host", 1),
            ("10.0.0.1", "10.0.0.1", 26379),
        ],
    )
    @pytest.mark.parametrize("more", ["", "host2,", "[::2]:7,"])
    def test_the_hosts_of_sentinels_may_be_ipv6_addresses(
        self, place: str, host: str, port: int, more: str
    ) -> None:
        """The brackets belong to the URL, and not to the address."""
        pool = connector(f"redis+sentinel://u:p@{more}{place}/main")(
            1.0
        ).connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        settings = pool.sentinel_manager.sentinels[-1].connection_pool.connection_kwargs
        assert (settings["host"], settings["port"]) == (host, port)

    def test_a_node_of_a_cluster_says_that_it_is_not_supported(
        self, open_broker: Open
    ) -> None:
        """A node that does not have the log's slot answers with the name of another."""
        cluster = ["--cluster-enabled", "yes"]
        with RedisServer(*cluster) as one, RedisServer(*cluster) as other:
            error = "Cluster, which is not supported"
            with pytest.raises(BrokerUnavailable, match=error):
                open_broker(other.url).head()
            one.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            other.run("CLUSTER", "MEET", HOST, one.port)
            moved = "MOVED"
            wait_until(lambda: moved in _answer(other))
            for ask in (RedisBroker.head, publish):
                with pytest.raises(BrokerUnavailable, match=error):
                    ask(open_broker(other.url))

    @pytest.mark.parametrize(
        "url",
        [
            "redis://host:port",
            "redis://host/myapp",
            "redis://host/1/2",
            "redis://host/-1",
            "redis://host?db=-1",
            "redis://host?db=x",
            "redis://host/٣",
            "redis+sentinel://host/main/app",
            "redis+sentinel://host:99999/main",
            "redis+sentinel://::1/main",
            "redis+sentinel://host:1",
            "redis+sentinel:///main",
        ],
    )
    def test_a_url_that_names_no_server_is_refused(self, url: str) -> None:
        """The error is raised when the app is set up, not at the first event."""
        with pytest.raises(ValueError):
            check_url(url)


def _answer(server: RedisServer) -> str:
    """Return the raw answer of a cluster's node about a key."""
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(b"GET key\r\n")
        return connection.recv(4096).decode()
