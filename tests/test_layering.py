"""The parts import one way, as docs/design.md draws them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flask_sse_hub

PACKAGE = Path(flask_sse_hub.__file__).parent

#: Each part may import parts of the rows above it, and the parts that stand before
#: it in its own row.
FLOORS = [
    [
        "runtime",
        "server",
        "events",
        "hub",
        "hub.clients",
        "hub.delivery",
        "streams",
        "answers",
        "auth",
        "web",
        "mock",
        "errors",
        "runtime.native",
        "events.coding",
        "runtime.sockets",
        "runtime.private_directory",
        "runtime.rare_log",
    ],
    [
        "events.event",
        "events.address",
        "webhooks.schemes",
        "events.hypermedia",
        "answers.batch",
        "mock.script",
    ],
    ["hub.delivery.history"],
    ["hub.clients.client", "hub.options", "web.tokens"],
    [
        "hub.clients.audience",
        "hub.clients.registry",
        "hub.clients.admission",
        "hub.delivery.ended_sessions",
        "hub.stats",
        "hub.clients.notices",
        "runtime.peer_watch",
        "hub.delivery.socket_sink",
        "server.census",
        "server.accept_balance",
        "answers.producer",
        "brokers.base",
        "brokers.memory",
        "brokers.codec",
        "brokers.thread",
        "brokers.sqlite.doorbell",
        "brokers.sqlite.connection",
        "brokers.sqlite.membership",
        "brokers.sqlite.log_file",
        "brokers.sqlite.broker",
        "brokers.sqlite",
        "brokers.redis.url",
        "brokers.redis.entry",
        "brokers.redis.stream",
        "brokers.redis.broker",
        "brokers.redis",
        "brokers.factory",
        "brokers",
    ],
    ["publisher", "hub.delivery.dispatcher", "hub.control", "hub.delivery.backlog"],
    ["hub.delivery.catchup"],
    ["hub.delivery.writer"],
    ["hub.hub"],
    [
        "hub.heartbeat",
        "hub.revalidation",
        "answers.departures",
        "streams.generator",
        "streams.takeover",
    ],
    [
        "signals",
        "web.client_address",
        "web.request_body",
        "web.config",
        "auth.visitor",
        "auth.client_ids",
        "auth.access",
        "web.cors",
        "streams.response",
        "answers.compressed_body",
        "answers.response",
        "web.client_script",
        "webhooks.view",
        "webhooks",
        "web.app_state",
        "web.publish_api",
        "web.blueprint",
        "mock.server",
        "web.cli",
        "web.extension",
        "testing.listing",
        "testing.parser",
        "testing.transport",
        "testing.reading",
        "testing.stream",
        "testing.clock",
        "testing.hubs",
        "testing.published",
        "testing",
        "pytest_plugin",
    ],
    ["__init__"],
]
ORDER = [name for floor in FLOORS for name in floor]
FLASK_SIDE = {*FLOORS[-2], *FLOORS[-1]}
KNOW_GEVENT = {"runtime.native"}
KNOW_REDIS = {"brokers.redis.broker", "brokers.redis.url", "brokers.redis.stream"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str) -> tuple[set[str], set[str]]:
    """Return the imports of a module: parts of this package, and other packages."""
    ours: set[str] = set()
    others: set[str] = set()
    path = MODULES[module]
    inside = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: len(inside) - node.level + 1])
            target = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                module_named = f"{target}.{alias.name}".lstrip(".")
                ours.add(module_named if module_named in MODULES else target)
    return ours, others


def test_every_module_has_its_place() -> None:
    """A new part is added to the drawing that a newcomer reads, and to this list."""
    assert set(MODULES) == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    """There are no import cycles, and lower parts do not know higher ones."""
    ours, _ = imports(module)
    above = {name for name in ours if ORDER.index(name) >= ORDER.index(module)}
    assert not above


@pytest.mark.parametrize("module", MODULES)
def test_only_the_flask_side_knows_flask(module: str) -> None:
    """The core also runs in a worker process that has no Flask."""
    _, others = imports(module)
    if module not in FLASK_SIDE:
        assert not others & {"flask", "werkzeug", "flask_login", "itsdangerous"}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_native_part_knows_gevent(module: str) -> None:
    """Everything else uses the standard library, patched or not."""
    _, others = imports(module)
    assert "gevent" not in others or module in KNOW_GEVENT


@pytest.mark.parametrize("module", MODULES)
def test_only_the_redis_broker_knows_redis(module: str) -> None:
    """The redis package takes 22 MB of each process that imports it."""
    _, others = imports(module)
    assert "redis" not in others or module in KNOW_REDIS


@pytest.mark.parametrize("module", MODULES)
def test_only_the_plugin_knows_pytest(module: str) -> None:
    """Streams can be tested with unittest, and apps run where there is no pytest."""
    _, others = imports(module)
    assert "pytest" not in others or module == "pytest_plugin"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_much_above_four_hundred_lines(module: str) -> None:
    """A longer module holds more than one idea."""
    assert len(MODULES[module].read_text().splitlines()) <= 420


@pytest.mark.parametrize(
    "package", ["gevent", "flask", "flask_login", "sqlite3", "redis", "pytest"]
)
def test_importing_the_package_does_not_import_optional_ones(package: str) -> None:
    """An app loads only the packages that it uses."""
    check = f"import sys, flask_sse_hub; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_public_names_are_sorted_and_complete() -> None:
    """The package offers exactly the names that its __init__ imports."""
    assert flask_sse_hub.__all__ == sorted(flask_sse_hub.__all__)
    tree = ast.parse(MODULES["__init__"].read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert set(flask_sse_hub.__all__) == imported


def test_every_close_reason_is_explained() -> None:
    """Each reason has a comment above it, where an operator looks it up."""
    lines = MODULES["client"].read_text().splitlines()
    for reason in flask_sse_hub.CloseReason:
        at = next(n for n, line in enumerate(lines) if f'= "{reason}"' in line)
        assert lines[at - 1].strip().startswith("#:"), reason
