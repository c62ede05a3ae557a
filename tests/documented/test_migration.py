"""The migration from Flask-SSE: both apps of the page, with a real Redis.

The page's statements about Flask-SSE are tested with Flask-SSE itself.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask_sse import Message, sse

from flask_sse_hub import Event, InvalidName, SSEHub
from tests.documented.samples import ROOT, sample
from tests.documented.shell import Running, Shell, flask_run
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "docs/migration.md"
BEFORE = sample(PAGE, "python", with_="import sse\n")
AFTER = sample(PAGE, "python", with_="import SSEHub")
HOOK = sample(PAGE, "python", with_="@sse.before_request")
RULE = sample(PAGE, "python", with_="@sse_hub.authorize_channel")
TO_A_PERSON = sample(PAGE, "python", with_="user=42)")
SCRIPT = sample(PAGE, "js", with_="new EventSource")
ON_RESET = sample(PAGE, "js", with_='"reset"')

live = pytest.mark.live

# Additions to both apps: logins, and a view that publishes any event.
LOGINS = """
from flask import abort, request
from flask_login import LoginManager, UserMixin, current_user


class User(UserMixin):
    def __init__(self, name):
        self.id = name
        self.is_admin = name == "admin"


login_manager = LoginManager(app)
login_manager.user_loader(User)


@login_manager.request_loader
def load(request):
    return User(request.authorization.token) if request.authorization else None
"""
PUBLISH = """
@app.post("/publish")
def publish():
    return f"{HUB.publish(**request.get_json())}\\n"
"""

FLASK_SSE = BEFORE + LOGINS + PUBLISH.replace("HUB", "sse")
HUB = AFTER + LOGINS + PUBLISH.replace("HUB", "sse_hub")


# Both in one app, at two URLs.
BOTH = FLASK_SSE + (
    "from flask_sse_hub import SSEHub\n"
    "app.config['SECRET_KEY'] = 'set your own'\n"
    "app.config['SSE_HUB_LOGIN_REQUIRED'] = False\n"
    "SSEHub(app)\n"
)


class App:
    """A running app, and the Redis that it uses."""

    def __init__(self, shell: Shell, redis: RedisServer) -> None:
        self.shell = shell
        self._redis = redis

    def listen(self, query: str = "", *options: str) -> Running:
        """Request the stream."""
        url = f"http://127.0.0.1:5000/stream{query}"
        return self.shell.start(f"curl -iN {' '.join(options)} '{url}'")

    @contextmanager
    def subscribe(self, query: str = "", *options: str) -> Iterator[Running]:
        """Request a stream of Flask-SSE, and wait until it has subscribed in Redis.

        Flask-SSE sends nothing before the first event. Subscriptions of earlier tests
        still exist, since it notices only at a write that a client has left.
        """
        before = self._subscribers()
        with self.listen(query, *options) as stream:
            wait_until(lambda: self._subscribers() - before)
            yield stream

    def _subscribers(self) -> set[bytes]:
        found: bytes = self._redis.run("CLIENT", "LIST", "TYPE", "PUBSUB")
        return {line.split()[0] for line in found.splitlines()}

    def status(self, query: str, user: str | None = None) -> str:
        """Request the stream and return the status of the answer."""
        authorization = f"-H 'Authorization: Bearer {user}'" if user else ""
        with self.listen(query, authorization) as stream:
            stream.wait_for("\n")
            return stream.printed.split()[1]

    def ship(self) -> None:
        assert (
            self.shell.run("curl -X POST http://127.0.0.1:5000/orders/7/ship")
            == "shipped\n"
        )

    def publish(self, data: Any, **options: Any) -> str:
        """Publish with ``publish()`` of the app, and return its result."""
        event = json.dumps({"data": data, **options})
        return self.shell.run(
            "curl -f -H 'Content-Type: application/json' "
            f"-d '{event}' http://127.0.0.1:5000/publish"
        ).strip()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def running(
    code: str, redis: RedisServer, folder: Path, *, port: int | None = None
) -> Iterator[App]:
    with flask_run(folder, code, port=port, ports={6379: redis.port}) as shell:
        yield App(shell, redis)


@pytest.fixture(scope="module")
def flask_sse(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """The app before the migration."""
    yield from running(FLASK_SSE, redis, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def hub(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app after the first step."""
    yield from running(HUB, redis, tmp_path_factory.mktemp("after"))


@live
def test_both_apps_send_the_same_event(flask_sse: App, hub: App) -> None:
    """Clients of both apps use the same URL."""
    with flask_sse.subscribe("?channel=orders") as stream:
        assert stream.printed == ""
        flask_sse.ship()
        stream.wait_for('event:shipped\ndata:{"order": 7}\n\n')
    with hub.listen("?channel=orders") as stream:
        stream.wait_for("event: connected")
        hub.ship()
        stream.wait_for('event: shipped\ndata: {"order": 7}\n\n')


@live
def test_only_the_hub_replays_missed_events(flask_sse: App, hub: App) -> None:
    """The events were published while a page was away."""
    assert flask_sse.publish("one", channel="away", id="1") == "0"
    flask_sse.publish("two", channel="away", id="2")
    with flask_sse.subscribe("?channel=away", "-H 'Last-Event-ID: 1'") as stream:
        assert flask_sse.publish("three", channel="away") == "1"
        stream.wait_for("three")
        assert "two" not in stream.printed
    first = hub.publish("one", channel="away")
    second = hub.publish("two", channel="away")
    with hub.listen("?channel=away", f"-H 'Last-Event-ID: {first}'") as stream:
        stream.wait_for(f"id: {second}\nchannel: away\ndata: two\n")


@live
def test_an_event_without_a_channel_reaches_all_clients_only_with_the_hub(
    flask_sse: App, hub: App
) -> None:
    """Flask-SSE sends it to the channel "sse". An app may not notice this at once."""
    with flask_sse.subscribe("?channel=orders") as one, flask_sse.subscribe() as other:
        flask_sse.publish("for the channel sse")
        flask_sse.publish("for orders", channel="orders")
        one.wait_for("for orders")
        other.wait_for("for the channel sse")
        assert "for the channel" not in one.printed
    with hub.listen("?channel=orders") as one, hub.listen("?channel=sse") as other:
        one.wait_for("connected")
        other.wait_for("connected")
        hub.publish("for everybody")
        hub.publish("for the channel sse", channel="sse")
        hub.publish("the end")
        one.wait_for("the end")
        other.wait_for("the end")
        assert "for everybody" in one.printed
        assert "for everybody" in other.printed
        assert "for the channel" in other.printed
        assert "for the channel" not in one.printed


@live
def test_only_the_hub_delivers_data_unchanged(flask_sse: App, hub: App) -> None:
    """The data is empty, or has characters that only Python takes for line ends."""
    text = "one\u2028two\ffour"
    with flask_sse.subscribe("?channel=data") as stream:
        flask_sse.publish("", channel="data")
        flask_sse.publish(text, channel="data", retry=5000)
        flask_sse.publish("end", channel="data", retry=0)
        stream.wait_for("data:end\n\n")
    body = stream.printed.replace("\r", "").partition("\n\n")[2]
    assert body == "\n\ndata:one\ndata:two\ndata:four\nretry:5000\n\ndata:end\n\n"
    with hub.listen("?channel=data") as stream:
        stream.wait_for("connected")
        hub.publish("", channel="data")
        hub.publish(text, channel="data", retry=5.0)
        stream.wait_for(f"data: {text}\n")
        assert "\ndata: \n\n" in stream.printed or "\ndata:\n\n" in stream.printed
        assert "retry: 5000\n" in stream.printed


@live
def test_the_type_is_the_second_argument_of_flask_sse() -> None:
    """With the hub, it is a keyword argument. The hub also refuses reserved types."""
    assert str(Message("x", "shipped", 7, 5000)) == str(
        Message("x", type="shipped", id=7, retry=5000)
    )
    assert callable(sse.messages)
    with pytest.raises(TypeError):
        SSEHub().publish("x", "shipped")  # type: ignore[call-overload]
    table = (ROOT / PAGE).read_text()
    for type in ("error", "open", "connected", "ping", "reset"):
        assert f'"{type}"' in table
        with pytest.raises(InvalidName):
            Event("x", type=type)


@live
def test_both_refuse_a_channel_that_the_user_may_not_listen_to(
    redis: RedisServer, tmp_path: Path
) -> None:
    """Flask-SSE uses a hook, and the hub a rule, which also closes other channels."""
    opened = (
        'app.config["SSE_HUB_LOGIN_REQUIRED"] = False\n'
        'app.config["SSE_HUB_PUBLIC_CHANNELS"] = ["*"]\n'
    )
    # The page tells readers to remove these two lines.
    assert opened in HUB
    register = 'app.register_blueprint(sse, url_prefix="/stream")\n'
    before = FLASK_SSE.replace(register, "") + HOOK + register
    for app in running(before, redis, tmp_path):
        assert app.status("?channel=analytics", "ada") == "403"
        with app.subscribe("?channel=orders"):
            pass
    after = (
        HUB.replace(opened, "")
        + RULE
        + ('\n@app.post("/tell")\ndef tell():\n    return ' + TO_A_PERSON)
    )
    for app in running(after, redis, tmp_path):
        assert app.status("?channel=orders") == "401"
        assert app.status("?channel=orders", "ada") == "200"
        assert app.status("?channel=analytics", "ada") == "403"
        assert app.status("?channel=analytics", "admin") == "200"
        assert app.status("?channel=anything", "admin") == "403"
        with app.listen("", "-H 'Authorization: Bearer 42'") as stream:
            stream.wait_for("connected")
            app.shell.run("curl -X POST http://127.0.0.1:5000/tell")
            stream.wait_for('event: shipped\ndata: {"order": 7}\n\n')


@live
def test_both_can_run_in_one_app(redis: RedisServer, tmp_path: Path) -> None:
    """Both run at different URLs while pages are migrated."""
    for app in running(BOTH, redis, tmp_path):
        with app.subscribe("?channel=orders") as stream:
            app.ship()
            stream.wait_for("order")
        with app.shell.start("curl -N http://127.0.0.1:5000/events") as stream:
            stream.wait_for("connected")


@pytest.mark.browser
def test_a_page_needs_no_change(
    chromium: "Browser", redis: RedisServer, tmp_path: Path
) -> None:
    """Its script receives the same events. With the hub, it can also handle a reset."""
    for code, more in ((FLASK_SSE, ""), (HUB, ON_RESET)):
        port = free_port()
        page = chromium.new_page()
        for app in running(code, redis, tmp_path, port=port):
            page.goto(f"http://{HOST}:{port}/static/none")
            page.evaluate(
                "() => { Math.random = () => 0; window.shown = [];"
                " const show = (it) => shown.push(it.order);"
                f"{SCRIPT}{more} window.source = source; }}"
            )

            def is_shown(app: App = app, page: "Page" = page) -> object:
                app.ship()
                return page.evaluate("shown[0] === 7")

            wait_until(is_shown)
            if more:
                with page.expect_navigation():
                    page.evaluate("source.dispatchEvent(new Event('reset'))")
        page.close()
