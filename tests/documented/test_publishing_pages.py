"""The samples of the pages about publishing and streams, in an app with their names."""

import json
import re
from pathlib import Path

import pytest
from flask import Flask, request
from flask_login import LoginManager, UserMixin, login_required

from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.documented.shell import Shell, flask_run, steps

HTTP = "docs/http-publishing.md"
PUBLISH = sample("docs/publishing.md", "python", with_="event_id = sse_hub.publish(")
CURL = sample(HTTP, "console", with_='"paid": true')
CURL_OF_MANY = sample(HTTP, "console", with_='"data": 2')
TOKEN = sample(HTTP, "console", with_="flask sse token")
ANSWER = sample("docs/responses.md", "python", with_="EventSourceResponse")
RULE = sample("docs/streams.md", "python", with_="@sse_hub.authorize_channel")
TICKET = sample("docs/page-setup.md", "python", with_="sse_hub.ticket(")


def test_an_event_is_published_with_all_options(make_site: MakeSite) -> None:
    """It reaches its user but not the excluded client, and once for its key."""
    site = make_site()
    browser = site.browser("42")
    client_id = browser.page()["client"]
    one, other = browser.stream(), browser.stream(f"/events?client_id={client_id}")
    for stream in (one, other):
        stream.next("connected")
    names = {"sse_hub": site.hub, "client_id": client_id, "delivery_id": "7"}
    with site.app.app_context():
        exec(PUBLISH, names)  # noqa: S102
        first = names["event_id"]
        exec(PUBLISH, names)  # noqa: S102
        site.hub.publish("the end")
    event = one.next("notification")
    assert json.loads(event.data) == {"text": "hello"}
    assert event.id == first == names["event_id"]
    assert one.parser.retry_ms == 5000
    assert one.data(1) == other.data(1) == ["the end"]
    assert [each.type for each in other.events] == ["connected", "message"]


class Model(list[str]):
    """A model's answer that must be closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_the_sample_for_an_answer_runs() -> None:
    """It streams merged tokens, and closes the model's call."""
    upstream = Model(["hel", "lo"])
    app = Flask("page")
    names = {"app": app, "request": request, "ask_model": lambda question: upstream}
    exec(ANSWER, names)  # noqa: S102
    answer = app.test_client().post("/ask", json={"question": "?"}).text
    assert "data: hello\n\n" in answer
    assert "event: done\n" in answer
    assert upstream.closed == 1


APP = """
from flask import Flask
from flask_sse_hub import SSEHub

app = Flask(__name__)
app.config["SECRET_KEY"] = "set your own"
app.config["SSE_HUB_LOGIN_REQUIRED"] = False
app.config["SSE_HUB_PUBLIC_CHANNELS"] = ["orders.*"]
app.config.from_prefixed_env()
sse_hub = SSEHub(app)
"""


@pytest.mark.live
def test_a_service_publishes_with_a_token(tmp_path: Path) -> None:
    """The command prints the token, the environment has it, and curl sends it."""
    (tmp_path / "app.py").write_text(APP)
    (made,) = steps(TOKEN)
    printed = Shell(tmp_path, ports={}).run(made.command)
    digits = re.compile(r"[0-9a-f]{64}|[\w-]{43}")
    assert digits.sub("?", printed) == digits.sub("?", made.output)
    token, setting = printed.splitlines()
    env = {"TOKEN": token, "FLASK_SSE_HUB_PUBLISH_TOKENS": setting}
    with flask_run(tmp_path, APP, env=env) as shell:
        url = "http://127.0.0.1:5000/events"
        listen = f"curl -N '{url}?channel=orders.7&channel=orders.8'"
        with shell.start(listen) as stream:
            stream.wait_for("connected")
            for block in (CURL, CURL_OF_MANY):
                (step,) = steps(block.replace("https://shop.example/events", url))
                shell.check(step)
            stream.wait_for("data: 2\n")
            assert 'event: order\ndata: {"paid": true}\n' in stream.printed


class Member(UserMixin):  # type: ignore[misc]
    """A user in two teams."""

    id = "ada"
    teams = ("7", "9")


def test_the_rule_opens_the_channels_of_the_users_teams(make_site: MakeSite) -> None:
    """It refuses another team's channel and channels of no team."""
    site = make_site()
    exec(RULE, {"sse_hub": site.hub})  # noqa: S102
    manager: LoginManager = site.app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(lambda _: Member())
    browser = site.browser("ada")
    browser.stream("/events?channel=team.7&channel=team.9")
    for closed in ("team.8", "team", "7", "unit.7"):
        assert browser.get(f"/events?channel={closed}").status_code == 403


def test_a_ticket_opens_the_stream(make_site: MakeSite) -> None:
    """A browser without a login opens the stream of the ticket's user and channel."""
    site = make_site()
    names = {"app": site.app, "sse_hub": site.hub, "login_required": login_required}
    exec(TICKET, names)  # noqa: S102
    assert site.browser().client.post("/ticket").status_code == 401
    ticket = site.browser("ada").client.post("/ticket").text
    stream = site.browser().stream(f"/events?channel=orders&ticket={ticket}")
    greeting = json.loads(stream.next("connected").data)
    assert (greeting["user_id"], greeting["channels"]) == ("ada", ["orders"])
