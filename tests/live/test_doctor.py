"""``flask sse doctor`` through proxies and servers that are really misconfigured."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.kit.ports import HOST, free_port
from tests.live import site
from tests.live.apache_proxy import apache_proxy
from tests.live.proxies import IDLE_LIMIT, Proxy
from tests.live.server import Server
from tests.nights.deployments import BUFFERING, COMPRESSING, NIGHTS

pytestmark = pytest.mark.live

SETTINGS: dict[str, Any] = {"heartbeat_interval": 3.0, "compress_min_bytes": None}

Doctor = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server as it should be. Its own compression is off: a proxy may add one."""
    args = "--workers 2 --forwarded-allow-ips 192.0.2.1"
    with Server(args=args, middleware="trust_proxy", **SETTINGS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor is patient with real deployments."""
    monkeypatch.setattr("flask_sse_hub.doctor.workers._REQUESTS", 6)
    monkeypatch.setattr("flask_sse_hub.doctor.examination._BETWEEN_SECONDS", 0.02)


@pytest.fixture
def make_doctor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Doctor]]:
    """Return a function that returns the doctor of a shell beside a server."""
    apps: list[Flask] = []

    def make(
        server: Server, *, secret_key: str = site.SECRET_KEY, **more: Any
    ) -> Doctor:
        url = f"sqlite:///{server.folder}/hub.db"
        for name, value in {**SETTINGS, "broker_url": url, **more}.items():
            monkeypatch.setenv(f"SSE_HUB_{name.upper()}", json.dumps(value))
        monkeypatch.setenv("LIVE_DATABASE", str(server.folder / "users.db"))
        app = site.create_app()
        app.secret_key = secret_key
        apps.append(app)

        def doctor(*words: str, status: int = 1) -> dict[str, Any]:
            runner = app.test_cli_runner()
            result = runner.invoke(args=["sse", "doctor", "--json", *words])
            assert result.exit_code == status, (result.output, result.exception)
            found = json.loads(result.stdout)
            return {each["code"]: each for each in found["findings"]}

        return doctor

    yield make
    for app in apps:
        app.extensions["sse_hub"].close()


@pytest.fixture
def doctor(make_doctor: Callable[..., Doctor], server: Server) -> Doctor:
    """The doctor of the good server, which compares an address with it."""
    return make_doctor(server)


def direct(server: Server) -> tuple[str, str]:
    return "--direct", f"http://{HOST}:{server.port}"


SHORT = {IDLE_LIMIT: "1s"}


@pytest.mark.parametrize(
    ("kind", "edit", "faults", "advice"),
    [
        ("nginx", {}, set(), set()),
        ("haproxy", {}, set(), set()),
        ("caddy", {}, set(), set()),
        ("nginx", BUFFERING, {"buffering"}, {"http-1.0"}),
        ("nginx", COMPRESSING, {"compression"}, set()),
        ("nginx", SHORT, {"idle-limit"}, set()),
        ("haproxy", SHORT, {"idle-limit"}, set()),
        ("caddy", SHORT, {"idle-limit"}, set()),
        ("haproxy", {"    option http-no-delay\n": ""}, {"delay"}, set()),
        ("haproxy", {"    option abortonclose\n": ""}, set(), {"leaving-unnoticed"}),
        (
            "nginx",
            {"        proxy_set_header X-Forwarded-Proto $scheme;\n": ""},
            {"scheme"},
            set(),
        ),
        ("nginx", {"proxy_pass http://app;": "return 404;"}, {"not-this-app"}, set()),
    ],
    ids=str,
)
def test_the_doctor_names_the_fault_of_a_proxy(
    doctor: Doctor,
    server: Server,
    kind: str,
    edit: dict[str, str],
    faults: set[str],
    advice: set[str],
) -> None:
    """The same server is healthy directly, so the fault is the proxy's."""
    protocol = "tls" if "scheme" in faults else "plain"
    with Proxy(kind, server.port, protocol=protocol, edit=edit) as proxy:
        found = doctor(
            proxy.url, *direct(server), "--insecure", status=1 if faults else 0
        )
    assert {code for code, it in found.items() if it["severity"] == "fault"} == faults
    assert {code for code, it in found.items() if it["severity"] == "advice"} == advice


@pytest.mark.parametrize(
    ("edit", "faults"),
    [
        ({}, []),
        ({"timeout=75": "timeout=1"}, ["idle-limit"]),
        # It compresses each event by itself, and holds none back.
        ({'SetEnvIf Request_URI "^/events" no-gzip': "SetOutputFilter DEFLATE"}, []),
    ],
    ids=str,
)
def test_the_doctor_names_the_fault_of_apache(
    doctor: Doctor, server: Server, edit: dict[str, str], faults: list[str]
) -> None:
    """Apache notices late that a client has left: that is advice, and no fault."""
    with apache_proxy(server.port, edit=edit) as url:
        found = doctor(url, *direct(server), status=1 if faults else 0)
    severities = {code: it["severity"] for code, it in found.items()}
    advice = {} if faults else {"leaving-unnoticed": "advice"}
    assert severities == {**dict.fromkeys(faults, "fault"), **advice}


def test_a_page_of_another_origin_is_examined(doctor: Doctor, server: Server) -> None:
    """The worker refuses it, and its cookies would not come along either."""
    url = f"http://{HOST}:{server.port}"
    found = doctor(url, "--origin", "https://shop.example")
    assert set(found) == {"cors", "cookies"}
    assert "https://shop.example" in found["cors"]["cure"]


def test_another_secret_key_is_found(
    make_doctor: Callable[..., Doctor], server: Server
) -> None:
    """No worker believes the shell."""
    doctor = make_doctor(server, secret_key="drawn when the process starts")
    assert set(doctor(f"http://{HOST}:{server.port}")) == {"secret-key"}


def test_another_log_is_found(
    make_doctor: Callable[..., Doctor], server: Server
) -> None:
    """Probes of this shell go elsewhere, and so do the events of its jobs."""
    other = f"sqlite:///{server.folder}/another.db"
    doctor = make_doctor(server, broker_url=other)
    found = doctor(f"http://{HOST}:{server.port}")
    assert "several-logs" in found


def test_an_address_where_nobody_listens_is_named(doctor: Doctor) -> None:
    """The text has the address."""
    url = f"http://{HOST}:{free_port()}"
    found = doctor(url)
    assert set(found) == {"unreachable"}
    assert url in found["unreachable"]["text"]


def test_an_app_without_proxy_fix_is_found(
    make_doctor: Callable[..., Doctor],
) -> None:
    """A proxy sends the visitor's address. Reconnects would restart the worker, too."""
    with (
        Server(
            args="--max-requests 1000 --forwarded-allow-ips 192.0.2.1", **SETTINGS
        ) as bare,
        Proxy("nginx", bare.port, protocol="plain") as proxy,
    ):
        found = make_doctor(bare)(proxy.url, "--wait", "0", *direct(bare))
    assert set(found) == {"proxy-fix", "max-requests"}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("full-disk", "broker-away"),
        ("evicting", "broker"),
        ("descriptors", "refused"),
        ("deaf", "deaf"),
        ("clock", "clock"),
    ],
)
def test_the_first_command_finds_the_cause_of_a_night(name: str, cause: str) -> None:
    """The tests above have the faults of the other nights."""
    try:
        with NIGHTS[name].start() as night:
            found = night.server.flask(
                "sse", "doctor", night.url, "--json", "--wait", "0"
            )
    except PermissionError as error:
        # Some containers may mount nothing, whatever is installed.
        pytest.skip(str(error))
    codes = {each["code"] for each in json.loads(found.stdout)["findings"]}
    assert cause in codes, found.stdout
    # No proxy is blamed.
    assert not codes & {"buffering", "compression", "status"}
