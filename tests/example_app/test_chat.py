"""The example app's chat, without a server."""

import json
import logging
import time
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, inspect, text

from example_app import conversations, database, language_model
from example_app.conversations import Exchange
from example_app.extensions import db
from example_app.language_model import Message
from flask_sse_hub.answers.lasting import records
from flask_sse_hub.events import address
from flask_sse_hub.testing import Published
from tests.conftest import DemoApp
from tests.kit.reader import wait_until
from tests.kit.sse_parser import ParsedEvent, parse


def ask(browser: FlaskClient, message: str) -> list[ParsedEvent]:
    response = browser.post("/api/chat/stream", json={"message": message})
    assert response.status_code == 200, response.text
    return parse(response.data)


def kept(browser: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/api/chat/messages").get_json()[
        "exchanges"
    ]
    return found


def fill(demo_app: DemoApp, user: str, *, exchanges: int) -> None:
    with demo_app.app.app_context():
        for number in range(exchanges):
            conversations.keep(
                Exchange(
                    id=f"{user}-{number}",
                    user=user,
                    question=f"question {number}",
                    answer=f"answer {number}",
                    stopped=False,
                )
            )


class TestStream:
    """Answers are streamed as they are produced."""

    def test_each_event_of_a_post_contains_the_whole_text_so_far(
        self, demo_app: DemoApp
    ) -> None:
        """The last event of the answer is marked as done, and then the stream ends."""
        *answer, end = ask(demo_app.browser(), "What is a stream?")
        data = [json.loads(each.data) for each in answer]
        contents = [each["content"] for each in data]
        assert len(contents) > 1
        for before, after in pairwise(contents):
            assert after.startswith(before)
        assert [each["done"] for each in data] == [False] * (len(data) - 1) + [True]
        assert {each.type for each in answer} == {"message"}
        assert end.type == "done"

    def test_a_get_sends_metadata_and_then_each_token(self, demo_app: DemoApp) -> None:
        """The format suits a native EventSource. The tokens join to the stored text."""
        browser = demo_app.browser()
        response = browser.get("/api/stream?message=What+is+a+proxy")
        metadata, *tokens, end = parse(response.data)
        (exchange,) = kept(browser)
        assert metadata.type == "metadata"
        assert json.loads(metadata.data) == {"model": "stand-in", "id": exchange["id"]}
        assert {token.type for token in tokens} == {"token"}
        texts = [json.loads(token.data)["content"] for token in tokens]
        assert "".join(texts) == exchange["answer"]
        assert exchange["question"] == "What is a proxy"
        assert end.type == "done"

    def test_no_database_connection_is_held_while_tokens_arrive(
        self, demo_app: DemoApp
    ) -> None:
        """The number of parallel answers is limited by threads or greenlets only."""
        browser = demo_app.browser()
        fill(demo_app, "alice", exchanges=1)
        demo_app.app.config["CHAT_PACE"] = 0.02
        response = browser.get("/api/stream?message=hello")
        stream = demo_app.read(response)
        stream.next("token")
        with demo_app.app.app_context():
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_the_error_id_of_a_failed_answer_is_in_the_log(
        self, demo_app: DemoApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No part of a failed answer is stored."""
        browser = demo_app.browser()
        *answer, end = ask(browser, "Please fail!")
        assert answer
        assert end.type == "error"
        assert json.loads(end.data)["id"] in caplog.text
        assert "asked to fail" not in end.data
        assert kept(browser) == []


class TestLastingAnswers:
    """The page's answers go on without a reader, and are read by their id."""

    def start(self, browser: FlaskClient) -> str:
        body = {"message": "What is a proxy?"}
        response = browser.post("/api/chat/answers", json=body)
        assert response.status_code == 201, response.text
        answer_id: str = response.get_json()["id"]
        return answer_id

    def test_each_reader_receives_the_whole_text(self, demo_app: DemoApp) -> None:
        """The exchange is kept under the answer's id, and all tabs are told."""
        browser = demo_app.browser()
        tab = demo_app.read(browser.get("/events"))
        answer_id = self.start(browser)
        asked = {"id": answer_id, "question": "What is a proxy?"}
        assert json.loads(tab.next("chatAsked").data) == asked
        for _ in range(2):
            response = browser.get(f"/api/chat/answers/{answer_id}")
            begun, *texts, end = parse(response.data)
            assert (begun.type, end.type) == ("answer", "done")
            (exchange,) = kept(browser)
            assert "".join(text.data for text in texts) == exchange["answer"]
        # The late reader received it as one event.
        assert len(texts) == 1
        assert exchange["id"] == answer_id

    def test_its_user_alone_may_stop_it(self, demo_app: DemoApp) -> None:
        """It is kept as far as it came, and the page knows it until then."""
        demo_app.app.config["CHAT_PACE"] = 0.02
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        url = f"/api/chat/answers/{self.start(alice)}"
        stream = demo_app.read(alice.get(url))
        stream.next("message")
        running = alice.get("/chat").text.partition("running")[2]
        assert url.rpartition("/")[2] in running
        assert "What is a proxy?" in running
        assert bob.get(url).status_code == 404
        assert bob.post(f"{url}/stop").status_code == 404
        assert alice.post(f"{url}/stop").status_code == 204
        assert "stopped" in stream.next("done").data
        wait_until(lambda: kept(alice))
        assert kept(alice)[0]["stopped"]
        assert alice.post(f"{url}/stop").status_code == 404
        assert (
            url.rpartition("/")[2]
            not in alice.get("/chat").text.partition("running")[2]
        )

    def test_another_worker_goes_on_where_one_has_left(self, demo_app: DemoApp) -> None:
        """The reader has the whole text once, and so have the other tabs."""
        browser = demo_app.browser()
        published = Published(demo_app.app)
        whole = "".join(
            each.data
            for each in parse(
                browser.get(f"/api/chat/answers/{self.start(browser)}").data
            )
            if each.type == "message"
        )
        browser.delete("/api/chat/messages")
        demo_app.app.config["CHAT_PACE"] = 0.02
        answer_id = self.start(browser)
        stream = demo_app.read(browser.get(f"/api/chat/answers/{answer_id}"))
        text = stream.next("message").data
        self.leave(demo_app, answer_id)
        while (event := stream.next()).type == "message":
            text += event.data
        assert (text, event.type) == (whole, "done")
        (exchange,) = kept(browser)
        assert (exchange["answer"], exchange["stopped"]) == (whole, False)
        told = published.events(type="chat", user="alice")
        assert [each.json()["answer"] for each in told] == [whole] * 2

    def leave(self, demo_app: DemoApp, answer_id: str) -> None:
        """Let the answer's worker leave it to others, as one that drains does."""
        broker = demo_app.app.extensions["sse_hub"].broker
        (begun,) = [
            records.read_begun(answer_id, records.read(each))
            for each in broker.state().records
            if each.addresses == (address.answer(answer_id),)
            and each.key == records.ANSWER
        ]
        broker.publish(records.release(begun))

    def test_a_part_never_replaces_a_longer_text(self, demo_app: DemoApp) -> None:
        """A worker that was asleep may keep its part when another one has ended."""
        with demo_app.app.app_context():
            for answer, stopped in (("a b", True), ("a b c", False), ("a b", True)):
                exchange = Exchange(
                    id="1", user="alice", question="?", answer=answer, stopped=stopped
                )
                conversations.keep(exchange)
        (found,) = kept(demo_app.browser())
        assert (found["answer"], found["stopped"]) == ("a b c", False)


class TestRefusals:
    """Invalid questions and users who may not ask are refused."""

    @pytest.mark.parametrize(
        ("body", "field", "problem"),
        [
            ({}, "message", "is missing"),
            ({"message": ""}, "message", "is empty"),
            ({"message": " \n"}, "message", "is empty"),
            ({"message": 7}, "message", "must be a string"),
            ({"message": None}, "message", "must be a string"),
            ({"message": "x" * 2001}, "message", "longer than 2000"),
            ({"message": "\ud800"}, "message", "is not valid Unicode"),
            ({"message": "hello", "model": "x"}, "model", "is not known"),
            ([], "body", "must be a JSON object"),
        ],
    )
    def test_an_invalid_body_is_refused_with_the_field_name(
        self, demo_app: DemoApp, body: Any, field: str, problem: str
    ) -> None:
        """The response is a 400, and no stream begins."""
        response = demo_app.browser().post("/api/chat/stream", json=body)
        assert response.status_code == 400
        assert response.get_json()["field"] == field
        assert problem in response.get_json()["error"]

    @pytest.mark.parametrize("query", ["", "?message=", f"?message={'x' * 2001}"])
    def test_an_invalid_query_is_refused_in_the_same_way(
        self, demo_app: DemoApp, query: str
    ) -> None:
        """A GET has no body, so the question is in the query."""
        response = demo_app.browser().get(f"/api/stream{query}")
        assert (response.status_code, response.get_json()["field"]) == (400, "message")

    def test_a_body_that_is_not_json_is_refused(self, demo_app: DemoApp) -> None:
        """A form of another site cannot send JSON's type. Invalid JSON is a 400."""
        browser, url = demo_app.browser(), "/api/chat/stream"
        assert browser.post(url, data={"message": "hello"}).status_code == 415
        bad = browser.post(url, data="{", content_type="application/json")
        assert bad.status_code == 400

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/api/chat/stream"),
            ("POST", "/api/chat/answers"),
            ("GET", "/api/chat/answers/one"),
            ("GET", "/api/stream?message=hello"),
            ("GET", "/api/chat/messages"),
            ("DELETE", "/api/chat/messages"),
        ],
    )
    def test_anonymous_visitors_are_told_to_sign_in(
        self, demo_app: DemoApp, method: str, path: str
    ) -> None:
        """The response is JSON for every request."""
        response = demo_app.browser(None).open(path, method=method)
        assert response.status_code == 401
        assert response.get_json() == {"error": "sign in first"}

    def test_a_link_on_another_site_cannot_ask(self, demo_app: DemoApp) -> None:
        """Browsers send the user's cookies with a link's GET, so it is refused."""
        browser = demo_app.browser()
        headers = {"Sec-Fetch-Site": "cross-site"}
        response = browser.get("/api/stream?message=hello", headers=headers)
        assert response.status_code == 403


class TestKept:
    """The conversation is stored in the database."""

    def test_a_complete_answer_is_stored_with_its_question(
        self, demo_app: DemoApp
    ) -> None:
        """The stored id is the id in the response's header."""
        browser = demo_app.browser()
        url, body = "/api/chat/stream", {"message": "What is a heartbeat?"}
        response = browser.post(url, json=body)
        answer = json.loads(parse(response.data)[-2].data)["content"]
        assert kept(browser) == [
            {
                "id": response.headers["Exchange-Id"],
                "question": "What is a heartbeat?",
                "answer": answer,
                "stopped": False,
            }
        ]

    def test_a_stopped_answer_is_stored_as_far_as_it_came(
        self, demo_app: DemoApp
    ) -> None:
        """The stored answer is marked as stopped."""
        browser = demo_app.browser()
        demo_app.app.config["CHAT_PACE"] = 0.05
        response = browser.get("/api/stream?message=What+is+a+client")
        stream = demo_app.read(response)
        shown = json.loads(stream.next("token").data)["content"]
        stream.close()
        wait_until(lambda: kept(browser))
        (exchange,) = kept(browser)
        assert exchange["stopped"]
        assert exchange["answer"].startswith(shown)

    def test_the_users_other_tabs_are_told(self, demo_app: DemoApp) -> None:
        """Other users receive no event about stored answers or about the clearing."""
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        tab, other = (demo_app.read(who.get("/events")) for who in (alice, bob))
        for stream in (tab, other):
            stream.next("connected")
        ask(alice, "hello")
        assert json.loads(tab.next("chat").data) == kept(alice)[0]
        assert alice.delete("/api/chat/messages").status_code == 204
        tab.next("chatCleared")
        assert kept(alice) == []
        bob.post("/trigger")
        assert other.next().type == "notification"

    def test_a_conversation_belongs_to_its_user(self, demo_app: DemoApp) -> None:
        """Only that user can see and clear the conversation."""
        fill(demo_app, "alice", exchanges=1)
        fill(demo_app, "bob", exchanges=1)
        demo_app.browser("bob").delete("/api/chat/messages")
        assert kept(demo_app.browser("bob")) == []
        assert len(kept(demo_app.browser("alice"))) == 1

    def test_a_page_contains_the_stored_conversation(self, demo_app: DemoApp) -> None:
        """The conversation is escaped, so no question can become part of the page."""
        browser = demo_app.browser()
        ask(browser, "</script><script>alert(1)</script>")
        page = browser.get("/chat").text
        assert "alert(1)" in page
        assert "<script>alert" not in page

    def test_only_the_end_of_a_long_conversation_is_used(
        self, demo_app: DemoApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The model reads all of its input before its first word."""
        fill(demo_app, "alice", exchanges=60)
        given: list[Message] = []
        complete = language_model.complete

        def listening(messages: list[Message]) -> Any:
            given.extend(messages)
            return complete(messages)

        monkeypatch.setattr(language_model, "complete", listening)
        browser = demo_app.browser()
        ask(browser, "and now?")
        assert [each["content"] for each in given] == [
            text
            for number in range(52, 60)
            for text in (f"question {number}", f"answer {number}")
        ] + ["and now?"]
        assert [each["role"] for each in given][-3:] == ["user", "assistant", "user"]
        shown = kept(browser)
        assert len(shown) == 50
        assert shown[-1]["question"] == "and now?"


class TestConversations:
    """A program keeps conversations apart by ``conversationId``."""

    def post(self, browser: FlaskClient, conversation: Any, message: str) -> None:
        body = {"message": message, "conversationId": conversation}
        answer = browser.post("/api/chat/stream", json=body)
        assert answer.status_code == 200, answer.text
        assert parse(answer.data)[-1].type == "done"

    def questions(self, browser: FlaskClient, query: str = "") -> list[str]:
        found = browser.get(f"/api/chat/messages{query}").get_json()["exchanges"]
        return [each["question"] for each in found]

    def test_each_id_is_a_conversation(self, demo_app: DemoApp) -> None:
        """An unknown id begins one. The page's conversation has no id."""
        browser = demo_app.browser()
        self.post(browser, 1, "one")
        self.post(browser, "trip", "two")
        self.post(browser, "1", "three")
        for nothing in (None, ""):
            self.post(browser, nothing, "four")
        assert self.questions(browser, "?conversationId=1") == ["one", "three"]
        assert self.questions(browser, "?conversationId=trip") == ["two"]
        assert self.questions(browser, "?conversationId=other") == []
        assert self.questions(browser) == ["four", "four"]

    def test_a_get_has_conversations_too(self, demo_app: DemoApp) -> None:
        """A native EventSource sends the id in its URL."""
        browser = demo_app.browser()
        answer = browser.get("/api/stream?message=one&conversationId=7")
        assert parse(answer.data)[-1].type == "done"
        assert self.questions(browser, "?conversationId=7") == ["one"]
        assert self.questions(browser) == []

    def test_the_model_reads_its_own_conversation_only(
        self, demo_app: DemoApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other conversations of the user are not among the messages."""
        given: list[list[str]] = []
        complete = language_model.complete

        def listening(messages: list[Message]) -> Any:
            given.append([each["content"] for each in messages])
            return complete(messages)

        monkeypatch.setattr(language_model, "complete", listening)
        browser = demo_app.browser()
        for conversation, question in ((1, "one"), (2, "two"), (1, "again")):
            self.post(browser, conversation, question)
        assert [len(messages) for messages in given] == [1, 1, 3]
        assert given[-1][0] == "one"

    def test_an_id_belongs_to_its_user(self, demo_app: DemoApp) -> None:
        """Two users may choose the same id."""
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        self.post(alice, 1, "of alice")
        self.post(bob, 1, "of bob")
        bob.delete("/api/chat/messages?conversationId=1")
        assert self.questions(alice, "?conversationId=1") == ["of alice"]
        assert self.questions(bob, "?conversationId=1") == []

    def test_clearing_leaves_the_other_conversations(self, demo_app: DemoApp) -> None:
        """Other tabs are told which conversation was cleared."""
        browser = demo_app.browser()
        tab = demo_app.read(browser.get("/events"))
        for conversation in (1, 2, None):
            self.post(browser, conversation, "hello")
            told = json.loads(tab.next("chat").data)
            assert told.get("conversationId") == (conversation and str(conversation))
        browser.delete("/api/chat/messages?conversationId=1")
        assert json.loads(tab.next("chatCleared").data) == {"conversationId": "1"}
        assert self.questions(browser, "?conversationId=2") == ["hello"]
        assert self.questions(browser) == ["hello"]

    @pytest.mark.parametrize(
        "conversation", [True, 1.5, [1], {}, " ", "\ud800", "x" * 256, 10**300]
    )
    def test_an_id_that_cannot_be_one_is_refused(
        self, demo_app: DemoApp, conversation: Any
    ) -> None:
        """The answer names the field, and no stream begins."""
        body = {"message": "hello", "conversationId": conversation}
        answer = demo_app.browser().post("/api/chat/stream", json=body)
        assert answer.status_code == 400
        assert answer.get_json()["field"] == "conversationId"


class TestTables:
    """Several workers may create the tables of a new database."""

    def test_two_workers_can_create_the_tables_at_once(self, demo_app: DemoApp) -> None:
        """The other worker may create the tables after this one has looked for them."""
        others: list[str] = []
        with demo_app.app.app_context():
            db.drop_all()

            @event.listens_for(db.engine, "before_cursor_execute")
            def be_faster(*arguments: Any) -> None:
                if arguments[2].lstrip().startswith("CREATE TABLE") and not others:
                    others.append(arguments[2])
                    db.create_all()

            database.create_tables()
            assert others
            assert set(inspect(db.engine).get_table_names()) == {
                *("exchange", "contact", "open_question")
            }

    @pytest.mark.parametrize("faster", [False, True])
    def test_a_database_of_an_earlier_version_gets_its_new_column(
        self, demo_app: DemoApp, faster: bool
    ) -> None:
        """Kept exchanges stay. Another worker may add the column at the same time."""
        fill(demo_app, "alice", exchanges=1)
        others: list[str] = []
        with demo_app.app.app_context():
            with db.engine.begin() as connection:
                connection.execute(
                    text("ALTER TABLE exchange DROP COLUMN conversation")
                )

            @event.listens_for(db.engine, "before_cursor_execute")
            def be_faster(*arguments: Any) -> None:
                if faster and "ADD COLUMN" in arguments[2] and not others:
                    others.append(arguments[2])
                    arguments[1].execute(arguments[2])

            database.create_tables()
        assert bool(others) is faster
        assert len(kept(demo_app.browser())) == 1

    def test_a_database_error_does_not_log_what_users_wrote(
        self, demo_app: DemoApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error names the statement that failed but not its values."""
        browser = demo_app.browser()
        with demo_app.app.app_context():
            refuse = "CREATE TRIGGER full BEFORE INSERT ON exchange"
            refuse += " BEGIN SELECT RAISE(ABORT, 'no room'); END"
            db.session.execute(text(refuse))
            db.session.commit()
        *_, end = ask(browser, "What is my secret?")
        assert end.type == "error"
        assert "INSERT INTO exchange" in caplog.text
        assert "secret" not in caplog.text


class TestStandIn:
    """The stand-in takes the place of a language model."""

    def test_the_same_conversation_has_the_same_answer(self, demo_app: DemoApp) -> None:
        """A demonstration can be repeated."""
        with demo_app.app.app_context():
            asked: list[Message] = [{"role": "user", "content": "What is an event?"}]
            first, second = (list(language_model.complete(asked)) for _ in range(2))
        assert first == second
        assert len(first) > 40

    @pytest.mark.parametrize(
        ("question", "part"),
        [
            ("What is a heartbeat?", "an event named ping every thirty seconds"),
            ("How do I reconnect after a cut?", "the id of its last event"),
            ("How can I publish from Celery, outside the app?", "use a Publisher"),
            ("Does nginx as a proxy buffer?", "X-Accel-Buffering: no"),
            ("Redis or SQLite: which broker?", "SQLite file in the instance folder"),
            ("what happens at logout", "on every worker at once"),
            ("Who is online? presence", "each person counts once"),
            ("xyzzy", "I am a stand-in"),
        ],
    )
    def test_a_question_about_the_product_is_answered_rightly(
        self, demo_app: DemoApp, question: str, part: str
    ) -> None:
        """The answer is the paragraph of the stand-in about that subject."""
        with demo_app.app.app_context():
            asked: Message = {"role": "user", "content": question}
            assert part in "".join(language_model.complete([asked]))

    def test_a_slow_answer_takes_as_long_as_a_person_needs(
        self, demo_app: DemoApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its reader has time to reload the page or to press stop."""
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        demo_app.app.config["CHAT_PACE"] = 0.04
        asked: Message = {"role": "user", "content": "What is an event? Slowly!"}
        with demo_app.app.app_context():
            tokens = list(language_model.complete([asked]))
        assert pauses[1:] == [pytest.approx(1.0)] * len(tokens)

    def test_closing_a_call_ends_it(
        self, demo_app: DemoApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A call over the network would release its connection."""
        caplog.set_level(logging.INFO)
        with demo_app.app.app_context():
            call = language_model.complete([{"role": "user", "content": "hello"}])
            next(call)
            call.close()
        assert "a call of the model ended after 0 tokens" in caplog.text
