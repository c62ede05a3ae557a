"""The example app's import, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import SignIn, fill_in
from tests.browser.demo_page import connected, expect
from tests.kit.demo import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

# The hub's kind of delivery does not matter to these tests.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]


#: A file whose import is still going on when the steps of a test come to it. It pauses
#: after each hundred rows, and short rows are many.
LONG = (
    b"name,email\n"
    + b"".join(b"P,%d@example.com\n" % number for number in range(2000))
    + b"x\n" * 400_000
)


@pytest.fixture
def page(sign_in: SignIn, demo: Demo) -> "Iterator[Page]":
    """The import page of a user without contacts."""
    page = connected(sign_in("alice", "/import"))
    page.click("#clear")
    page.locator("#count", has_text="0").wait_for()
    yield page
    # An import that a test has left would be there in the next one.
    demo.request("POST", "/api/imports/stop", Cookie=demo.cookie("alice"))


def csv(content: bytes, name: str = "contacts.csv") -> Any:
    return {"name": name, "mimeType": "text/csv", "buffer": content}


def send(page: "Page", content: bytes, name: str = "contacts.csv") -> None:
    page.set_input_files("#file", csv(content, name))
    page.click("#start")


def count(page: "Page", name: str) -> str:
    return page.locator(f"[data-count={name}]").inner_text()


def test_the_sample_is_downloaded_and_imported(page: "Page") -> None:
    """The import starts by keyboard, and shows its progress and the refused rows."""
    with page.expect_download() as download:
        page.click("#sample")
    sample = download.value.path().read_bytes()
    page.set_input_files("#file", csv(sample))
    page.evaluate(
        """() => {
          window.seen = [];
          const bar = document.querySelector("#progress");
          new MutationObserver(() => window.seen.push(bar.value / bar.max))
            .observe(bar, { attributes: true });
        }"""
    )
    page.focus("#start")
    page.keyboard.press("Enter")
    expect(page, "#stage", "Imported: 4,995 added, 0 there already, 5 refused.")
    seen = page.evaluate("seen")
    assert len({share for share in seen if 0 < share < 1}) > 3
    assert seen[-1] == 1
    assert page.locator("#problems li").all_inner_texts()[0] == (
        "Line 1001: this is no email address: person1000 at example.com"
    )
    expect(page, "#count", "4,995")


def test_cancelling_keeps_the_added_rows_and_says_so(page: "Page") -> None:
    """The focus is on Cancel during an import, and on Import after it."""
    send(page, LONG)
    page.wait_for_function("() => document.querySelector('#progress').value > 0")
    assert page.evaluate("document.activeElement.id") == "cancel"
    page.keyboard.press("Enter")
    expect(page, "#stage", "Cancelled. What was added before is kept.")
    assert page.evaluate("document.activeElement.id") == "start"
    assert count(page, "rows") != "402,000"
    page.wait_for_function("() => document.querySelector('#count').textContent !== '0'")
    assert page.is_enabled("#start")


def test_an_import_goes_on_after_a_reload_and_is_cancelled_in_all_tabs(
    page: "Page",
) -> None:
    """Each tab shows its progress, and none begins another one."""
    tab = page.context.new_page()
    tab.goto(page.url)
    connected(tab)
    send(page, LONG)
    moves = "() => document.querySelector('#progress').value > 0"
    tab.wait_for_function(moves)
    before = page.evaluate("document.querySelector('#progress').value")
    page.reload()
    page.wait_for_function(
        f"() => document.querySelector('#progress').value >= {before}"
        " && document.querySelector('[data-count=rows]').textContent !== '0'"
    )
    expect(page, "#stage", "Importing.")
    for each in (page, tab):
        assert each.is_disabled("#start")
    tab.click("#cancel")
    for each in (page, tab):
        expect(each, "#stage", "Cancelled. What was added before is kept.")
        assert each.is_enabled("#start")
    assert count(page, "added") == count(tab, "added")


def test_a_logout_in_another_tab_ends_the_reading(page: "Page") -> None:
    """The import goes on, and is there at the next login."""
    send(page, LONG)
    page.wait_for_function("() => document.querySelector('#progress').value > 0")
    tab = page.context.new_page()
    tab.goto(page.url)
    tab.click("#sign-out")
    expect(page, "#stage", "The import goes on without this page.")
    fill_in(tab, "alice")
    tab.goto(page.url)
    tab.wait_for_function("() => document.querySelector('#progress').value > 0")


def test_a_bad_file_is_explained(page: "Page") -> None:
    """Another file can be tried at once."""
    for content, name, told in (
        (b"name;email\nA;b", "contacts.csv", "must name the columns"),
        (b"\xff\xfe", "contacts.csv", "not UTF-8"),
        (b"name,email\n", "contacts.xlsx", "file must be a .csv file"),
        (b"x" * (2 << 20), "contacts.csv", "The file has 2 MB; it may have 1."),
    ):
        send(page, content, name)
        expect(page, "#problem", told)
        assert page.is_enabled("#start")
    send(page, b"name,email\nAnn,ann@example.com\n")
    expect(page, "#stage", "Imported: 1 added")
    assert page.locator("#problem").inner_text() == ""


def test_a_page_without_a_network_explains_the_failure(page: "Page") -> None:
    """Sending a file and deleting contacts fail with a reason, and work later."""
    send(page, b"name,email\nAnn,ann@example.com\n")
    expect(page, "#count", "1")
    page.context.set_offline(True)
    page.click("#start")
    expect(page, "#problem", "The server could not be reached.")
    page.evaluate("document.querySelector('#problem').replaceChildren()")
    page.click("#clear")
    expect(page, "#problem", "The server could not be reached.")
    expect(page, "#count", "1")
    page.context.set_offline(False)
    page.click("#clear")
    expect(page, "#count", "0")
    assert page.locator("#problem").inner_text() == ""


def test_a_file_that_was_deleted_is_explained(page: "Page", tmp_path: Path) -> None:
    """The page names the file as the cause, and not the connection."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(b"name,email\n")
    page.set_input_files("#file", path)
    path.unlink()
    page.click("#start")
    expect(page, "#problem", "The file was moved or changed")
