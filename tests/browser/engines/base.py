"""The interface of engines, profiles and pages, and the parts that drivers share."""

import base64
import json
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.kit.reader import DEADLINE, wait_until

#: A part of the URLs that a content blocker refuses: those of alice's own channel.
BLOCKED = "/events?channel=alice"


class Page(Protocol):
    """One page of a browser, with the names of Playwright's."""

    def goto(self, url: str) -> Any:
        """Load a page, and wait until it has loaded."""

    def go_back(self) -> Any:
        """Go back, and wait until the page is there."""

    def go_forward(self) -> Any:
        """Go forward, and wait until the page is there."""

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        """Return the value of an expression, or of the function that it is."""

    def wait_for_function(self, expression: str, *, polling: float = 20) -> Any:
        """Wait until an expression, or the result of the function that it is, is true.

        A page whose policy forbids evaluating texts needs a function: Playwright
        evaluates an expression within the page.
        """

    def screenshot(self, *, path: Any) -> Any: ...

    def set_default_timeout(self, timeout: float) -> None: ...

    def close(self) -> None: ...


class Profile(Protocol):
    """Pages that share cookies with each other, and with no other pages."""

    def new_page(self) -> Page: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """A running browser."""

    name: str
    version: str

    def new_context(self) -> Any:
        """Return a new profile, without cookies."""

    def new_private_context(self) -> Any:
        """Return a new profile whose pages are in a private window."""

    def content_blocker(self, profile: Any) -> AbstractContextManager[None]:
        """Block content of a profile during the block."""

    def pids(self) -> list[int]:
        """Return the browser's processes."""

    def cpu_seconds(self) -> float:
        """Return the time that the browser's processes have computed so far."""

    def close(self) -> None: ...


class Left(Exception):
    """Raised when the page has left while it computed a value."""


class DrivenPage(ABC):
    """A page of a driver that can only run JavaScript and load a URL."""

    def __init__(self) -> None:
        self._timeout = 2 * DEADLINE

    @abstractmethod
    def _run(self, expression: str) -> Any:
        """Return the value of an expression, which is a promise of a string.

        Raises Left if the page is not there any more.
        """

    @abstractmethod
    def _picture(self) -> str:
        """Return the page as a PNG in Base64."""

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        found = self._run(
            f"""(async () => {{
              let value = ({expression.strip().rstrip(";")});
              if (typeof value === "function") value = value({json.dumps(arg)});
              return JSON.stringify(await value) ?? "null";
            }})()"""
        )
        return json.loads(found)

    def wait_for_function(self, expression: str, *, polling: float = 20) -> None:
        # Asked by the test, since timers of a page in the background are slow.
        wait_until(lambda: self._is(expression), within=self._timeout)

    def _is(self, expression: str) -> bool:
        try:
            return bool(
                self.evaluate(
                    f"""async () => {{
                      const value = ({expression});
                      return Boolean(
                        await (typeof value === "function" ? value() : value));
                    }}"""
                )
            )
        except Left:
            return False

    def set_default_timeout(self, timeout: float) -> None:
        self._timeout = timeout / 1000

    def screenshot(self, *, path: Any) -> None:
        Path(path).write_bytes(base64.b64decode(self._picture()))


def descendants(*pids: int) -> list[int]:
    """Return processes and all their descendants, without those that have ended."""
    found = []
    for pid in pids:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                if each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each.pid)
    return found


def cpu_seconds(*pids: int) -> float:
    """Return the time that processes have computed."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            times = psutil.Process(pid).cpu_times()
            # Those of ended children are in the times of their parent.
            total += times.user + times.system
            total += times.children_user + times.children_system
    return total
