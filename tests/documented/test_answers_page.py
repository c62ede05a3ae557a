"""The samples of the page about answers that outlive their reader."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask_login import UserMixin, login_user

from flask_sse_hub import Progress
from tests.documented.samples import sample
from tests.kit.reader import StreamReader, wait_until
from tests.unit.answers.conftest import rest_of

PAGE = "docs/answers.md"
SERVER = sample(PAGE, "python", with_="answer.response()")
JOB = sample(PAGE, "python", with_="def import_rows")
RESUME = sample(PAGE, "python", with_="def resume")
RESTART = sample(PAGE, "python", with_="def go_on")


class User(UserMixin):  # type: ignore[misc]
    id = "alice"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the names of the page's app, with a model of three words."""
    model = ModuleType("language_model")
    model.complete = lambda question: iter([question, " is ", "good"])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "language_model", model)
    names: dict[str, Any] = {"__name__": "sample"}
    exec(SERVER + RESUME, names)  # noqa: S102 - the page's own code
    app = names["app"]
    app.instance_path = str(tmp_path)
    names["login_manager"].user_loader(lambda _: User())

    @app.post("/login")  # type: ignore[untyped-decorator]
    def login() -> str:
        login_user(User())
        return "in"

    yield names
    app.extensions["sse_hub"].close()


def test_the_chat_can_be_read_again_and_stopped(names: dict[str, Any]) -> None:
    """By its owner alone."""
    app, answers = names["app"], names["sse_hub"].answers
    browser = app.test_client()
    browser.post("/login")
    asked = browser.post("/ask", json={"question": "tea"})
    answer_id = asked.headers["Answer-ID"]
    *_, (last, _) = rest_of(StreamReader(asked.response))
    assert last == "done"
    again = browser.get(f"/answers/{answer_id}")
    assert ("message", "tea is good") in rest_of(StreamReader(again.response))
    assert app.test_client().get(f"/answers/{answer_id}").status_code == 404
    assert browser.post(f"/answers/{answer_id}/stop").status_code == 204
    assert browser.post("/answers/unknown/stop").status_code == 404
    with app.app_context():
        assert answers.get(answer_id).state == "done"


def test_another_worker_could_go_on(names: dict[str, Any]) -> None:
    """The function asks the model for the rest."""
    kept: dict[str, str] = {}
    names |= {"keep_question": kept.__setitem__, "load_question": kept.get}
    exec(RESTART, names)  # noqa: S102 - the page's own code
    browser = names["app"].test_client()
    browser.post("/login")
    asked = browser.post("/ask-safely", json={"question": "tea"})
    assert ("message", "tea is good") in rest_of(StreamReader(asked.response))
    asks = next(iter(names["go_on"](asked.headers["Answer-ID"], "tea is")))
    assert asks == "tea\n\nYour answer so far, go on:\ntea is"


def test_a_chat_of_the_ai_sdk_resumes_while_it_runs(names: dict[str, Any]) -> None:
    """There is nothing to resume before and after."""
    app, answers = names["app"], names["sse_hub"].answers
    browser = app.test_client()
    browser.post("/login")
    assert browser.get("/api/chat/7/stream").status_code == 204

    def words() -> Iterator[str]:
        yield "tea"
        wait_until(lambda: answers.get("7").has_readers)

    with app.app_context():
        answers.start(words(), id="7", user="alice", protocol="ai-sdk", merge="".join)
    resumed = browser.get("/api/chat/7/stream")
    assert resumed.status_code == 200
    assert b'"delta":"tea"' in b"".join(resumed.response)
    assert browser.get("/api/chat/7/stream").status_code == 204


def test_a_job_shows_its_progress(names: dict[str, Any], tmp_path: Path) -> None:
    """To the page of the user that it belongs to."""
    log = tmp_path / "sse_hub.db"
    job = JOB.replace("/srv/app/instance/sse_hub.db", str(log))
    loaded: list[str] = []
    outside: dict[str, Any] = {"load": loaded.append}
    with names["app"].app_context():
        names["sse_hub"].publish("the log begins")
    exec(job, outside)  # noqa: S102 - the page's own code
    outside["import_rows"]("job-1", "alice", ["a", "b"])
    outside["publisher"].close()
    assert loaded == ["a", "b"]
    with names["app"].app_context():
        found = names["sse_hub"].answers.get("job-1")
    assert (found.state, found.progress) == ("done", Progress(2, "row 2", 2))
