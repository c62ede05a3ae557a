"""The quick start: each of its commands, and its page in a real Chromium."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documented.samples import sample
from tests.documented.shell import Shell, flask_run, steps
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = "docs/quickstart.md"
APP = sample(PAGE, "python", with_="render_template")
APP_WITH_LOGIN = sample(PAGE, "python", with_="UserMixin")
HTML = sample(PAGE, "html")
FOLDER = sample(PAGE, "sh", with_="python3 -m venv")
RUN = sample(PAGE, "console", with_="flask run")
LISTEN = sample(PAGE, "console", with_="retry: 2271")
PUBLISH = sample(PAGE, "console", with_="text=hello")
AGAIN = sample(PAGE, "console", with_="text=again")
STORY = sample(PAGE, "text", with_="event: story")
RESUME = sample(PAGE, "console", with_="Last-Event-ID")
SHELL = sample(PAGE, "console", with_="flask sse publish")
LOG_IN = sample(PAGE, "console", with_="-d name=ada")
TELL = sample(PAGE, "console", with_="tell/ada")
NOTE = sample(PAGE, "text", with_="event: note")
LOG_OUT = sample(PAGE, "console", with_="/logout")
GUNICORN = sample(PAGE, "console", with_="gunicorn")


@contextmanager
def serving(folder: Path, app: str, *, port: int | None = None) -> Iterator[Shell]:
    """Run an app as the page says, with its template; yield a shell for it."""
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates/page.html").write_text(HTML)
    with flask_run(folder, app, port=port) as shell:
        yield shell


@pytest.mark.live
def test_the_folder_has_an_environment(tmp_path: Path) -> None:
    """After the commands, python is that of the folder."""
    shell = Shell(tmp_path, ports={})
    prefix = shell.run(f"{FOLDER}python -c 'import sys; print(sys.prefix)'")
    assert Path(prefix.strip()) == tmp_path / "news/.venv"


def test_the_server_is_started_as_shown() -> None:
    """The other tests use this command, and wait for this line."""
    assert steps(RUN) == [("flask run", " * Running on http://127.0.0.1:5000\n")]


@pytest.mark.live
def test_every_command_answers_as_shown(tmp_path: Path) -> None:
    """All commands use one history, from the first greeting to the logout."""
    with serving(tmp_path, APP) as shell:
        (publish,), (greeting,), (again,) = steps(PUBLISH), steps(LISTEN), steps(AGAIN)
        shell.check(publish)
        with shell.start(greeting.command) as stream:
            stream.wait_for("resumed")
            shell.check(again)
            stream.wait_for("again")
        shell.learn(f"{greeting.output}\n{STORY}", stream.printed)
        *published, resumed = steps(RESUME)
        for step in published:
            shell.check(step)
        with shell.start(resumed.command) as stream:
            stream.wait_for("two")
        shell.learn(resumed.output, stream.printed)
        for step in steps(SHELL):
            shell.check(step)
    with serving(tmp_path, APP_WITH_LOGIN) as shell:
        refusal, login, greeting = steps(LOG_IN)
        shell.check(refusal)
        shell.check(login)
        with shell.start(greeting.command) as stream:
            stream.wait_for("resumed")
            for step in [*steps(TELL), *steps(LOG_OUT)]:
                shell.check(step)
            stream.wait_for_end()
        # The last block tells the client when to reconnect, and is not on the page.
        printed = stream.printed.rpartition("\n\n")[0]
        shell.learn(f"{greeting.output}\n{NOTE}", printed)


@pytest.mark.browser
def test_the_page_shows_stories_and_reconnects(
    chromium: "Browser", tmp_path: Path
) -> None:
    """It reconnects after a restart of the server, without a reload."""
    page = chromium.new_page()
    publish = steps(PUBLISH)[0].command
    port = free_port()

    def is_shown() -> bool:
        # The page does not receive events from before its stream is open.
        shell.run(publish)
        return page.locator("#stories li", has_text="hello").count() > 0

    with serving(tmp_path, APP, port=port) as shell:
        page.goto(f"http://{HOST}:{port}/")
        page.evaluate("window.isTheSame = true")
        wait_until(is_shown)
    with serving(tmp_path, APP, port=port) as shell:
        shell.run(publish.replace("hello", "again"))
        # The client would retry after seconds. This event makes it retry at once.
        page.evaluate("window.dispatchEvent(new Event('online'))")
        page.locator("#stories li", has_text="again").wait_for()
    assert page.evaluate("window.isTheSame")
    page.close()


@pytest.mark.live
def test_gunicorn_workers_receive_each_others_events(tmp_path: Path) -> None:
    """The page's command starts gunicorn, which logs the lines that the page shows."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    args = f"--bind {HOST}:{port} --no-control-socket"
    shell = Shell(tmp_path, ports={5000: port}, GUNICORN_CMD_ARGS=args)
    (step,) = steps(GUNICORN)
    with shell.start(step.command) as server:
        for line in step.output.replace("8000", str(port)).splitlines():
            # Times, versions and process ids differ.
            server.wait_for(re.sub(r"(27\.\S+|[(]?\d+[)]?)$", "", line[35:]))
        streams = [shell.start(steps(LISTEN)[0].command) for _ in range(8)]
        with ExitStack() as stack:
            for stream in streams:
                stack.enter_context(stream)
                stream.wait_for("resumed")
            shell.run(steps(PUBLISH)[0].command)
            for stream in streams:
                stream.wait_for("hello")
