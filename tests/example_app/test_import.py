"""The example app's import of CSV files, without a server."""

import csv
import io
import json
import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from example_app.imports import Import
from flask_sse_hub.testing import Published, Stream
from tests.conftest import DemoApp
from tests.kit.reader import wait_until
from tests.kit.sse_parser import ParsedEvent, parse
from tests.unit.answers.conftest import rest_of

HEADER = b"name,email\n"


def send(browser: FlaskClient, content: bytes, name: str = "contacts.csv") -> Any:
    return browser.post("/api/import", data={"file": (io.BytesIO(content), name)})


def events(browser: FlaskClient, content: bytes) -> list[ParsedEvent]:
    response = send(browser, content)
    assert response.status_code == 200, response.text
    seen = parse(response.data)
    # The stream must end with "done", whatever the file contains.
    assert seen[-1].type == "done"
    return seen[:-1]


def of(seen: list[ParsedEvent], type: str) -> list[dict[str, Any]]:
    return [json.loads(each.data) for each in seen if each.type == type]


def rows(count: int) -> bytes:
    lines = (f"Person {number},person{number}@example.com\n" for number in range(count))
    return HEADER + "".join(lines).encode()


def count(browser: FlaskClient) -> int:
    found: int = browser.get("/api/contacts").get_json()["count"]
    return found


def test_each_commit_tells_the_count_to_the_users_pages(demo_app: DemoApp) -> None:
    """Each batch is a transaction, and so is the deletion. Others receive nothing."""
    browser = demo_app.browser()
    published = Published(demo_app.app)
    events(browser, rows(150))
    events(browser, rows(150))
    browser.delete("/api/contacts")
    told = published.events(type="contacts", user="alice")
    assert [each.json()["count"] for each in told] == [100, 150, 0]


def test_an_import_reports_its_progress(demo_app: DemoApp) -> None:
    """Progress is in rows and bytes after each batch. The end has a summary."""
    browser = demo_app.browser()
    content = rows(250)
    seen = events(browser, content)
    progress = of(seen, "progress")
    assert [each["rows"] for each in progress] == [100, 200]
    assert 0 < progress[0]["bytes"] < progress[1]["bytes"] < len(content)
    assert progress[0]["of"] == len(content)
    (summary,) = of(seen, "summary")
    assert (summary["rows"], summary["added"], summary["complete"]) == (250, 250, True)
    assert summary["bytes"] == summary["of"] == len(content)
    assert count(browser) == 250


def test_an_invalid_row_is_reported_with_its_line(demo_app: DemoApp) -> None:
    """Other rows are added. A row may span several lines; empty lines are ignored."""
    browser = demo_app.browser()
    seen = events(
        browser,
        HEADER + b'"Two\nlines",two@example.com\n'
        b"\n"
        b",nobody@example.com\n"
        b"Ann,\n"
        b"Ann,ann at example.com\n"
        b"Ann\n"
        b"Ann,ann@example.com,more\n"
        b" , \n" + b"x" * 101 + b",long@example.com\n"
        b"Bob,bob@example.com",
    )
    assert [(each["line"], each["problem"]) for each in of(seen, "problem")] == [
        (5, "the name is empty"),
        (6, "the email is empty"),
        (7, "this is no email address: ann at example.com"),
        (8, "has 1 columns, not 2"),
        (9, "has 3 columns, not 2"),
        (11, "the name is longer than 100 characters"),
    ]
    (summary,) = of(seen, "summary")
    assert (summary["added"], summary["refused"]) == (2, 6)


def test_no_contact_is_added_twice(demo_app: DemoApp) -> None:
    """Emails repeated in a file or already stored are skipped. Case is ignored."""
    browser = demo_app.browser()
    content = HEADER + b"Ann,ann@example.com\nAnn,ANN@example.com\n"
    for added, known in ((1, 1), (0, 2)):
        (summary,) = of(events(browser, content), "summary")
        assert (summary["added"], summary["known"]) == (added, known)
    assert count(browser) == 1


def test_contacts_belong_to_their_user(demo_app: DemoApp) -> None:
    """Two users may have the same contact, and each deletes only their own."""
    alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
    events(alice, rows(3))
    (summary,) = of(events(bob, rows(3)), "summary")
    assert summary["added"] == 3
    assert bob.delete("/api/contacts").status_code == 204
    assert (count(alice), count(bob)) == (3, 0)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"", 1, "empty"),
        (b"\n\n", 1, "empty"),
        (b"\xef\xbb\xbf", 1, "empty"),
        (b"Ann,ann@example.com\n", 1, "must name the columns"),
        (b"name;email\nAnn;ann@example.com\n", 1, "must name the columns"),
        (b"name,email,email\n", 1, "once each"),
        (HEADER + b"Ann,ann@example.com\nJos\xe9,jose@example.com\n", 3, "not UTF-8"),
        ("name,email\nAnn,a@example.com\n".encode("utf-16"), 1, "not UTF-8"),
        (HEADER + b"Ann\0,ann@example.com\n", 2, "not UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00", 1, "not UTF-8"),
        (HEADER + b'"Ann"x,ann@example.com\n', 2, "not CSV"),
        (HEADER + b'"Ann,ann@example.com\n' * 2, 2, "not CSV"),
        (HEADER + b'"' + b"long\n" * 50_000, 2, "is a quote missing?"),
        (HEADER + b'"two\nlines",' * 10_000, 2, "up to 65536 bytes"),
        (b'"two\nlines",' * 10_000, 1, "up to 65536 bytes"),
        (b"name,email\rAnn,ann@example.com\r", 1, "seen in unquoted field"),
        (HEADER + b"x" * 100_000, 2, "up to 65536 bytes"),
    ],
    ids=lambda value: None if isinstance(value, int) else repr(value[:24]),
)
def test_an_unreadable_file_is_reported_with_the_line(
    demo_app: DemoApp,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    line: int,
    problem: str,
) -> None:
    """The file is at fault and not the server, so there is no error and no log line."""
    browser = demo_app.browser()
    # A process that serves no stream would be told that its events reach nobody.
    with Stream("/events", client=browser) as stream:
        stream.next("connected")
        seen = events(browser, content)
    (unreadable,) = of(seen, "unreadable")
    assert unreadable["line"] == line
    assert problem in unreadable["problem"]
    assert "do you need" not in unreadable["problem"]
    assert not of(seen, "summary")[0]["complete"]
    assert caplog.records == []


def test_rows_before_an_unreadable_part_are_kept(demo_app: DemoApp) -> None:
    """A file that cannot be read to its end still adds its earlier rows."""
    browser = demo_app.browser()
    (summary,) = of(events(browser, rows(120) + b"\xff"), "summary")
    assert (summary["added"], count(browser)) == (120, 120)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfname,email\r\nAnn,ann@example.com\r\n",
        b" Email ,NAME,note\nann@example.com,Ann,nice\n",
        '"name","email"\n"Ann ""the"" Ünal, of Köln",ann@example.com\n'.encode(),
    ],
)
def test_files_of_many_programs_are_read(demo_app: DemoApp, content: bytes) -> None:
    """A byte order mark, any column order, extra columns and quotes are accepted."""
    (summary,) = of(events(demo_app.browser(), content), "summary")
    assert (summary["added"], summary["refused"]) == (1, 0)


def test_only_the_first_problems_are_listed(demo_app: DemoApp) -> None:
    """All problems are counted."""
    seen = events(demo_app.browser(), HEADER + b"bad\n" * 350)
    assert len(of(seen, "problem")) == 100
    assert of(seen, "summary")[0]["refused"] == 350


def test_a_file_of_empty_rows_lets_other_tasks_run(demo_app: DemoApp) -> None:
    """The import pauses for empty rows too, but not so often that it takes minutes."""
    seen = events(demo_app.browser(), HEADER + b",\n" * 20_000)
    assert len(of(seen, "progress")) == 10


class TestLastingImports:
    """The page's imports go on without a reader, and are read by their id."""

    def start(self, browser: FlaskClient, content: bytes) -> str:
        file = (io.BytesIO(content), "contacts.csv")
        response = browser.post("/api/imports", data={"file": file})
        assert response.status_code == 201, response.text
        import_id: str = response.get_json()["id"]
        return import_id

    def read(self, browser: FlaskClient, import_id: str) -> list[ParsedEvent]:
        return parse(browser.get(f"/api/imports/{import_id}").data)

    def test_each_reader_receives_the_progress_and_the_result(
        self, demo_app: DemoApp
    ) -> None:
        """All tabs of the user are told of the import."""
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        tab = demo_app.read(alice.get("/events"))
        content = rows(250) + b"bad\n"
        import_id = self.start(alice, content)
        assert json.loads(tab.next("importStarted").data) == {"id": import_id}
        for _ in range(2):
            seen = self.read(alice, import_id)
            assert (seen[0].type, seen[-1].type) == ("answer", "done")
            done = {"done": len(content), "total": len(content), "text": "251 rows"}
            assert of(seen, "progress")[-1] == done
            assert [each["rows"] for each in of(seen, "counts")] == [100, 200]
            assert of(seen, "problem")[0]["line"] == 252
            (summary,) = of(seen, "summary")
            assert (summary["added"], summary["complete"]) == (250, True)
        # A late reader receives only the newest progress.
        assert len(of(seen, "progress")) == 1
        assert bob.get(f"/api/imports/{import_id}").status_code == 404

    def test_there_is_one_at_a_time_and_its_user_cancels_it(
        self, demo_app: DemoApp
    ) -> None:
        """The chat's answers are something else. A cancelled import keeps its batches.

        A page that is loaded meanwhile knows the import.
        """
        demo_app.app.config["IMPORT_PAUSE"] = 0.02
        demo_app.app.config["CHAT_PACE"] = 0.02
        alice, bob = demo_app.browser("alice"), demo_app.browser("bob")
        alice.post("/api/chat/answers", json={"message": "What is a proxy?"})
        assert alice.post("/api/imports/stop").status_code == 404
        import_id = self.start(alice, rows(5000))
        assert import_id in alice.get("/import").text
        assert import_id not in alice.get("/chat").text
        file = (io.BytesIO(rows(1)), "contacts.csv")
        again = alice.post("/api/imports", data={"file": file})
        assert again.status_code == 409
        assert "running already" in again.get_json()["error"]
        stream = demo_app.read(alice.get(f"/api/imports/{import_id}"))
        stream.next("counts")
        assert bob.post("/api/imports/stop").status_code == 404
        assert alice.post("/api/imports/stop").status_code == 204
        assert "stopped" in stream.next("done").data
        wait_until(lambda: not importing())
        assert 0 < count(alice) < 5000
        assert count(alice) % 100 == 0
        assert alice.post("/api/imports/stop").status_code == 404

    def test_a_logout_ends_the_reading_and_not_the_import(
        self, demo_app: DemoApp
    ) -> None:
        """The contacts are there at the next login."""
        demo_app.app.config["IMPORT_PAUSE"] = 0.02
        browser = demo_app.browser()
        import_id = self.start(browser, rows(1000))
        stream = demo_app.read(browser.get(f"/api/imports/{import_id}"))
        stream.next("counts")
        browser.post("/logout")
        assert "done" not in {type for type, _ in rest_of(stream)}
        again = demo_app.browser()
        assert self.read(again, import_id)[-1].type == "done"
        assert count(again) == 1000


class TestRefusals:
    """Requests that are no valid upload are refused."""

    @pytest.mark.parametrize(
        ("form", "problem"),
        [
            ({}, "file is missing"),
            ({"file": "no file"}, "file is missing"),
            ({"file": (io.BytesIO(b"x"), "")}, "file is missing"),
            ({"file": (io.BytesIO(b"x"), "contacts.xlsx")}, "must be a .csv file"),
        ],
    )
    def test_a_form_without_a_csv_file_is_refused(
        self, demo_app: DemoApp, form: dict[str, Any], problem: str
    ) -> None:
        """The response names the field."""
        response = demo_app.browser().post(
            "/api/import", data=form, content_type="multipart/form-data"
        )
        assert response.status_code == 400
        assert response.get_json()["field"] == "file"
        assert problem in response.get_json()["error"]

    def test_a_file_that_is_too_large_is_refused(self, demo_app: DemoApp) -> None:
        """The response names the limit."""
        demo_app.app.config["IMPORT_MAX_BYTES"] = 100 * 1024
        browser = demo_app.browser()
        response = send(browser, rows(4000))
        assert response.status_code == 413
        assert response.get_json() == {"error": "file is larger than 100 KiB"}
        assert count(browser) == 0

    def test_other_requests_keep_the_small_body_limit(self, demo_app: DemoApp) -> None:
        """The limit is raised for uploads only."""
        browser = demo_app.browser()
        assert len(rows(3000)) > 64 * 1024
        assert of(events(browser, rows(3000)), "summary")
        body = {"message": "x" * 100_000}
        assert browser.post("/api/chat/stream", json=body).status_code == 413

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/api/import"),
            ("POST", "/api/imports"),
            ("GET", "/api/imports/one"),
            ("POST", "/api/imports/stop"),
            ("GET", "/api/import/sample.csv"),
            ("GET", "/api/contacts"),
            ("DELETE", "/api/contacts"),
        ],
    )
    def test_anonymous_visitors_are_told_to_sign_in(
        self, demo_app: DemoApp, method: str, path: str
    ) -> None:
        """The request is refused before its body is read."""
        response = demo_app.browser(None).open(path, method=method)
        assert response.status_code == 401
        assert response.get_json() == {"error": "sign in first"}


def importing() -> bool:
    return any(each.name == "sse-producer" for each in threading.enumerate())


class TestCancelling:
    """Clients that leave before the end cancel their import."""

    def test_whole_batches_are_kept(self, demo_app: DemoApp) -> None:
        """Batches added before stay, and the same file continues from there."""
        browser = demo_app.browser()
        demo_app.app.config["IMPORT_PAUSE"] = 0.02
        stream = demo_app.read(send(browser, rows(5000)))
        stream.next("progress")
        stream.close()
        wait_until(lambda: not importing())
        added = count(browser)
        assert added % 100 == 0
        assert 0 < added < 5000
        demo_app.app.config["IMPORT_PAUSE"] = 0.0001
        (summary,) = of(events(browser, rows(5000)), "summary")
        assert (summary["known"], summary["added"]) == (added, 5000 - added)

    def test_the_file_is_deleted_even_if_it_was_never_read(self) -> None:
        """A client may leave before the import begins."""
        file = io.BytesIO(rows(1))
        Import("alice", file).close()
        assert file.closed


def test_the_sample_can_be_imported(demo_app: DemoApp) -> None:
    """The sample has 5,000 rows, a few of which are refused as examples."""
    browser = demo_app.browser()
    sample = browser.get("/api/import/sample.csv")
    assert sample.headers["Content-Disposition"].startswith("attachment")
    assert len(list(csv.reader(io.StringIO(sample.text)))) == 5001
    (summary,) = of(events(browser, sample.data), "summary")
    assert (summary["added"], summary["refused"]) == (4995, 5)
