"""The samples of the page about background jobs publish to the log of an app.

Celery and RQ run their task in this process: tests/compat has their real workers.
"""

import importlib
import json
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import request
from flask_login import current_user, login_required
from redis import Redis
from rq import Queue

from flask_sse_hub import Publisher
from flask_sse_hub.testing import Published
from tests.conftest import MakeSite, Site, User
from tests.documented.samples import sample
from tests.kit.reader import DEADLINE
from tests.kit.redis_server import RedisServer
from tests.unit.answers.conftest import rest_of

PAGE = "docs/jobs.md"
CELERY = sample(PAGE, "python", with_="import Celery")
CELERY_VIEW = sample(PAGE, "python", with_=".delay(")
RQ = sample(PAGE, "python", with_="# reports.py")
RQ_CALL = sample(PAGE, "python", with_="queue.enqueue")
SCHEDULER = sample(PAGE, "python", with_="BackgroundScheduler()")
CRON = sample(PAGE, "sh")
PROGRESS = sample(PAGE, "python", with_="def import_rows")
JOB = sample(PAGE, "python", with_="def load_all")


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    """A database of its own: the samples have a name that other tests may use."""
    return f"{redis_server.url.rstrip('/0')}/9"


@pytest.fixture
def site(make_site: MakeSite, url: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An app, whose log the environment names as the samples expect it."""
    monkeypatch.setenv("REDIS_URL", url)
    site = make_site(broker_url=url, name="shop")
    with site.app.app_context():
        site.hub.publish("the log begins")
    return site


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return a function that imports a sample, and its reader's own work."""
    monkeypatch.syspath_prepend(tmp_path)

    def imported(code: str) -> Any:
        name = f"jobs_page_{code.count(chr(10))}"
        work = "\ndef build_report(user_id):\n    return f'/reports/{user_id}'\n"
        (tmp_path / f"{name}.py").write_text(code + work)
        return importlib.import_module(name)

    return imported


def test_a_view_starts_a_task_of_celery_that_publishes(
    site: Site, report: Callable[[str], Any]
) -> None:
    """The person who is logged in receives the link."""
    tasks = report(CELERY)
    tasks.celery.conf.task_always_eager = True
    names = {"app": site.app, "make_report": tasks.make_report}
    login = {"login_required": login_required, "current_user": current_user}
    exec(CELERY_VIEW, names | login)  # noqa: S102
    browser = site.browser("ada")
    published = Published(site.app)
    assert browser.client.post("/reports").status_code == 202
    event = published.one(type="report", user="ada")
    assert event.json() == {"link": "/reports/ada"}


def test_a_job_of_rq_publishes(
    site: Site, url: str, report: Callable[[str], Any]
) -> None:
    """The job is put into a real Redis, and run at once."""
    with Redis.from_url(url) as connection:
        names = {
            "queue": Queue("jobs-page", connection=connection, is_async=False),
            "make_report": report(RQ).make_report,
            "current_user": User("ada"),
        }
        published = Published(site.app)
        exec(RQ_CALL, names)  # noqa: S102
    assert published.one(user="ada").json() == {"link": "/reports/ada"}


def test_a_scheduler_of_the_app_publishes(site: Site) -> None:
    """It calls the hub in a thread, without an app context."""
    ran: list[str] = []

    class Scheduler:
        def scheduled_job(self, *args: object, **options: object) -> Any:
            return lambda job: ran.append(job())

        def start(self) -> None:
            assert ran == [None]

    names = {"sse_hub": site.hub, "load_rates": lambda: {"EUR": 1.1}}
    published = Published(site.app)
    exec(SCHEDULER, names | {"BackgroundScheduler": Scheduler})  # noqa: S102
    assert published.one(channel="rates").json() == {"EUR": 1.1}


def test_a_cron_job_publishes_by_the_command(
    site: Site, make_site: MakeSite, url: str
) -> None:
    """The command goes to one user."""
    published = Published(site.app)
    words = shlex.split(CRON)
    assert words[:3] == ["flask", "--app", "shop"]
    shop = make_site(broker_url=url, name="shop").app
    assert shop.test_cli_runner().invoke(args=words[3:]).exit_code == 0
    assert published.one(user="1", type="notice").json() == {
        "text": "The backup is done"
    }


def test_a_page_that_is_loaded_begins_with_the_progress(site: Site, url: str) -> None:
    """After the end of the job, a new page begins without it."""
    browser = site.browser("ada")
    began: list[str] = []

    def save(row: int) -> None:
        if row == 150:
            began.append(browser.stream("/events?state=1").next("progress").data)

    names: dict[str, Any] = {"publisher": Publisher(url, name="shop"), "save": save}
    exec(PROGRESS, names)  # noqa: S102
    names["import_rows"]("ada", 7, range(250))
    assert began == ['{"done": 100, "of": 250}']
    stream = browser.stream("/events?state=1")
    with site.app.app_context():
        site.hub.publish("next")
    assert stream.data(1) == ["next"]


def test_a_job_is_watched_and_cancelled(make_site: MakeSite) -> None:
    """By its user alone."""
    site = make_site()
    saved: list[int] = []
    may_go_on = threading.Event()

    def save(row: int) -> None:
        saved.append(row)
        if row == 100:
            may_go_on.wait(DEADLINE)

    names = {"app": site.app, "sse_hub": site.hub, "save": save, "request": request}
    login = {"login_required": login_required, "current_user": current_user}
    exec(JOB, names | login)  # noqa: S102
    ada, bob = site.browser("ada"), site.browser("bob")
    rows = {"rows": list(range(1, 301))}
    for stops in (False, True):
        may_go_on.clear()
        job_id = ada.client.post("/jobs", json=rows).get_json()["id"]
        reader = ada.stream(f"/jobs/{job_id}")
        assert bob.get(f"/jobs/{job_id}").status_code == 404
        assert bob.client.post(f"/jobs/{job_id}/stop").status_code == 404
        if stops:
            assert ada.client.post(f"/jobs/{job_id}/stop").status_code == 204
        may_go_on.set()
        events = rest_of(reader)
        last, end = events[-1]
        assert (last, "stopped" in end) == ("done", stops)
        if not stops:
            assert ("message", '{"loaded": 300}') in events
            progress = [json.loads(data) for type, data in events if type == "progress"]
            assert progress[-1] == {"done": 300, "total": 300, "text": "row 300 of 300"}
            assert len(saved) == 300
