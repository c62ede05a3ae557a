"""The example app's paths for programs with other conventions, without a server."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_sse_hub.testing import Stream
from tests.conftest import DemoApp
from tests.kit.reader import StreamReader


def listen(demo_app: DemoApp, who: FlaskClient, path: str = "/api/sse") -> StreamReader:
    stream = demo_app.read(who.get(path))
    stream.next("connected")
    return stream


def ids(browser: FlaskClient) -> dict[str, str]:
    found: dict[str, str] = browser.get("/api/sse/ids").get_json()
    return found


def client_id(browser: FlaskClient) -> str:
    with Stream("/api/sse", client=browser) as stream:
        return str(stream.next("connected").json()["client_id"])


class TestStream:
    """``GET /api/sse`` with the names that a program gives itself."""

    def test_names_without_a_value_are_ignored(self, demo_app: DemoApp) -> None:
        """A program fills in what it knows."""
        listen(demo_app, demo_app.browser(), "/api/sse?clientId=&userId=&sessionId=")

    def test_own_names_are_accepted(self, demo_app: DemoApp) -> None:
        """The stream has the client id that was asked for."""
        browser = demo_app.browser()
        query = {"clientId": client_id(browser), **ids(browser)}
        stream = demo_app.read(browser.get("/api/sse", query_string=query))
        greeting = json.loads(stream.next("connected").data)
        assert greeting["client_id"] == query["clientId"]
        assert greeting["user_id"] == "alice"

    @pytest.mark.parametrize("field", ["userId", "sessionId"])
    @pytest.mark.parametrize("name", ["alice", "admin"])
    def test_names_of_others_are_refused(
        self, demo_app: DemoApp, field: str, name: str
    ) -> None:
        """Another user's id is refused. The answer says where one's own ids are."""
        foreign = ids(demo_app.browser("bob"))[field]
        answer = demo_app.browser(name).get(f"/api/sse?{field}={foreign}")
        assert answer.status_code == 403
        assert f"{field} is not yours" in answer.get_json()["error"]
        assert "/api/sse/ids" in answer.get_json()["error"]

    def test_a_client_id_of_the_programs_own_is_refused(
        self, demo_app: DemoApp
    ) -> None:
        """The hub signs the ids of its clients. The answer says where they are."""
        answer = demo_app.browser().get("/api/sse?clientId=tab-1")
        assert (answer.status_code, answer.get_json()["field"]) == (400, "clientId")
        assert "read client_id in the event connected" in answer.get_json()["error"]

    @pytest.mark.parametrize("path", ["/api/sse?userId=alice", "/api/sse/ids"])
    def test_a_login_is_needed(self, demo_app: DemoApp, path: str) -> None:
        """A name in the query is no login."""
        answer = demo_app.browser(None).get(path)
        assert (answer.status_code, answer.get_json()) == (
            401,
            {"error": "sign in first"},
        )


class TestSend:
    """``POST /api/sse/send`` with each kind of target."""

    @pytest.mark.parametrize("field", ["clientId", "userId", "sessionId"])
    def test_each_own_target_is_reached(self, demo_app: DemoApp, field: str) -> None:
        """An event is published to a client, a user or a session."""
        browser = demo_app.browser()
        stream = demo_app.read(browser.get("/api/sse"))
        greeting = json.loads(stream.next("connected").data)
        own = {"clientId": greeting["client_id"], **ids(browser)}
        body = {"type": "note", "data": {"n": 1}, "target": {field: own[field]}}
        assert browser.post("/api/sse/send", json=body).status_code == 202
        assert json.loads(stream.next("note").data) == {"n": 1}

    @pytest.mark.parametrize("field", ["clientId", "userId", "sessionId"])
    def test_a_target_of_another_user_is_refused(
        self, demo_app: DemoApp, field: str
    ) -> None:
        """The answer names the field."""
        bob = demo_app.browser("bob")
        foreign = {"clientId": client_id(bob), **ids(bob)}[field]
        body = {"data": 1, "target": {field: foreign}}
        answer = demo_app.browser().post("/api/sse/send", json=body)
        assert answer.status_code == 403
        assert answer.get_json()["error"] == f"target.{field} is not yours"


class TestTrigger:
    """``POST /trigger`` publishes what it was given."""

    def test_a_body_is_published_to_oneself(self, demo_app: DemoApp) -> None:
        """Other users receive nothing."""
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        own, other = listen(demo_app, alice), listen(demo_app, bob)
        body = {"type": "update", "data": {"total": 7}}
        assert alice.post("/trigger", json=body).status_code == 202
        assert json.loads(own.next("update").data) == {"total": 7}
        bob.post("/trigger")
        assert other.next().type == "notification"

    def test_a_body_of_an_admin_is_published_to_everybody(
        self, demo_app: DemoApp
    ) -> None:
        """An admin may publish to everybody by the other paths too."""
        stream = listen(demo_app, demo_app.browser("bob"))
        body = {"type": "update", "data": [1, 2]}
        demo_app.browser("admin").post("/trigger", json=body)
        assert json.loads(stream.next("update").data) == [1, 2]

    @pytest.mark.parametrize("options", [{}, {"content_type": "application/json"}])
    @pytest.mark.parametrize("name", ["alice", "admin"])
    def test_without_a_body_a_notification_is_published(
        self, demo_app: DemoApp, name: str, options: dict[str, str]
    ) -> None:
        """The user of the request receives the notification."""
        browser, other = demo_app.browser(name), demo_app.browser("bob")
        own, others = listen(demo_app, browser), listen(demo_app, other)
        assert browser.post("/trigger", **options).status_code == 202
        assert "You asked for this" in own.next("notification").data
        other.post("/trigger", json={"type": "mine", "data": 1})
        assert others.next().type == "mine"

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"type": "update"}, "data is missing"),
            ({"type": "update", "data": 1, "to": "bob"}, "to is not known"),
            ({"type": 7, "data": 1}, "type must be a string"),
            ({"type": "connected", "data": 1}, "reserved"),
            ([], "body must be a JSON object"),
        ],
    )
    def test_an_invalid_body_is_refused(
        self, demo_app: DemoApp, body: Any, problem: str
    ) -> None:
        """Nothing is published in place of an event that cannot be."""
        answer = demo_app.browser().post("/trigger", json=body)
        assert answer.status_code == 400
        assert problem in answer.get_json()["error"]

    def test_a_body_that_is_not_json_is_refused(self, demo_app: DemoApp) -> None:
        """A form of another site cannot publish."""
        answer = demo_app.browser().post("/trigger", data={"type": "update"})
        assert answer.status_code == 415
