"""The samples of the README work when they are copied."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin

from docs.absolute_links import absolute
from flask_sse_hub import SSEHub
from flask_sse_hub.testing import Published, Stream
from tests.conftest import MakeSite, User
from tests.documented.samples import ROOT, sample
from tests.documented.shell import Shell, commands, flask_run
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = "README.md"
FIRST_APP = sample(PAGE, "python", with_="/say/")
HOME = sample("docs/index.md", "python")
FIRST_EVENT = sample(PAGE, "sh", with_="/say/hello")
WITH_LOGINS = sample(PAGE, "python", with_="LoginManager")
RULE = sample(PAGE, "python", with_="@sse_hub.authorize_channel")
GUNICORN = sample(PAGE, "sh", with_="gunicorn -k gevent")
REDIS = sample(PAGE, "python", with_="redis://")
PUBLISHER = sample(PAGE, "python", with_="import Publisher")
SHELL = sample(PAGE, "sh", with_="flask sse")


@pytest.mark.browser
def test_the_first_app_shows_an_event(tmp_path: Path, chromium: "Browser") -> None:
    """It is pasted, started and opened, and the command of the page adds a line."""
    with flask_run(tmp_path, FIRST_APP) as shell:
        page = chromium.new_page()
        with page.expect_request("**/events"):
            page.goto(shell.translated("http://127.0.0.1:5000/"))
        (publish,) = commands(FIRST_EVENT)

        def is_shown() -> bool:
            shell.run(publish)
            return "hello" in page.inner_text("body")

        wait_until(is_shown)
        page.context.close()


def test_the_app_with_logins_runs(tmp_path: Path) -> None:
    """It gives a stream, and an event for the order's owner."""
    names: dict[str, Any] = {"__name__": __name__, "load_user": User}
    exec(WITH_LOGINS, names)  # noqa: S102
    names["owner_of"] = lambda number: 42
    app: Flask = names["app"]
    app.instance_path = str(tmp_path)
    client = app.test_client()
    published = Published(app)
    assert client.get("/events").status_code == 401
    assert client.post("/orders/7/ship").text == "shipped"
    (event,) = published.events(user=42)
    assert (event.type, event.json()) == ("notification", {"shipped": 7})
    app.extensions["sse_hub"].close()


class Member(UserMixin):  # type: ignore[misc]
    """A user in a team."""

    id = "ada"
    team_id = 7


def test_the_rule_opens_the_channel_of_the_users_team(make_site: MakeSite) -> None:
    """It opens no other channel."""
    site = make_site()
    exec(RULE, {"sse_hub": site.hub})  # noqa: S102
    manager: LoginManager = site.app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(lambda _: Member())
    browser = site.browser("ada")
    browser.stream("/events?channel=team.7")
    assert browser.get("/events?channel=team.8").status_code == 403


def test_the_history_is_in_redis(redis_server: RedisServer) -> None:
    """It is on the server of the URL, under the configured name."""
    app = Flask("page")
    app.config["SSE_HUB_LOGIN_REQUIRED"] = False
    exec(REDIS.replace("redis://host:6379/0", redis_server.url), {"app": app})  # noqa: S102
    hub = SSEHub(app)
    hub.publish("hello")
    app.extensions["sse_hub"].close()
    assert any(b"shop" in key for key in redis_server.run("KEYS", "*"))


def test_a_job_publishes_without_flask(tmp_path: Path) -> None:
    """It publishes into the app's file, and the app's pages receive the event."""
    path = f"{tmp_path}/sse_hub.db"
    app = Flask("page")
    app.config["SSE_HUB_LOGIN_REQUIRED"] = False
    app.config["SSE_HUB_BROKER_URL"] = f"sqlite:///{path}"
    SSEHub(app)
    published = Published(app)
    names: dict[str, Any] = {}
    exec(PUBLISHER.replace("/srv/shop/instance/sse_hub.db", path), names)  # noqa: S102
    names["publisher"].close()
    (event,) = published.events(user=42)
    assert (event.type, event.json()) == ("import", {"done": 7})
    app.extensions["sse_hub"].close()


APP = """
from flask import Flask
from flask_sse_hub import SSEHub


def create_app():
    app = Flask("yourapp")
    app.config["SSE_HUB_LOGIN_REQUIRED"] = False
    app.config["SECRET_KEY"] = "set your own"
    app.config["SSE_HUB_PUBLIC_CHANNELS"] = ["news"]
    SSEHub(app)
    return app
"""


@pytest.mark.live
def test_a_shell_publishes_and_listens(tmp_path: Path) -> None:
    """The app runs under gunicorn, started as on the page."""
    (tmp_path / "yourapp.py").write_text(APP)
    port = free_port()
    shell = Shell(
        tmp_path,
        ports={8000: port},
        FLASK_APP="yourapp",
        GUNICORN_CMD_ARGS=f"--bind {HOST}:{port} --no-control-socket",
    )
    publish, listen = commands(SHELL)
    with shell.start(commands(GUNICORN)[0]) as server:
        server.wait_for("Listening")
        url = f"http://{HOST}:{port}/events?channel=news"
        with shell.start(listen) as listener, Stream(url) as stream:
            event_id = shell.run(publish).strip()

            def is_heard() -> bool:
                # It prints only the events that arrive after it has begun to listen.
                shell.run("flask sse publish extra --channel news")
                return "extra" in listener.printed

            wait_until(is_heard)
            assert event_id not in listener.printed
            assert stream.next().data == "extra"


def test_the_sites_home_page_has_the_first_app_too() -> None:
    """The app that the tests above run is the one that the home page shows."""
    assert HOME == FIRST_APP


def test_an_index_can_follow_every_link_of_the_readme() -> None:
    """A release makes links and pictures absolute, and leaves code as it is."""
    readme = (ROOT / "README.md").read_text()
    made = absolute(readme, "https://host/owner/name/blob/v1")
    links = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"(?!/)([^\"]+)", made)
    assert len(links) > 40
    found = [link or picture for link, picture in links]
    assert [each for each in found if not each.startswith(("https://", "#"))] == []
    assert "(https://host/owner/name/blob/v1/docs/quickstart.md)" in made
    assert "https://host/owner/name/raw/v1/docs/assets/resume-dark.png" in made
    assert 'new EventSource("/events")' in made
