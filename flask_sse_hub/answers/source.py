"""The sources of an answer's items: the contracts of their consumers."""

from collections.abc import Callable
from typing import Any, Protocol

from .protocols import Failure

#: Encodes one item: ``convert(item)``. A source that knows places passes them too.
Convert = Callable[..., Any]


class Source(Protocol):
    """The items of one answer, for one reader.

    The reader calls start() once, and then take() again and again. The other methods
    may be called from any thread.
    """

    #: The error that ended the items, None without one. The reader takes it away.
    error: BaseException | None

    #: Whether the reader has all items: the answer has ended, not only this source.
    exhausted: bool

    @property
    def failure(self) -> Failure | None:
        """The failure that ended the answer elsewhere, where it is in the log."""

    @property
    def reason(self) -> str | None:
        """Why an answer without a failure ended before it was complete."""

    def start(self) -> None:
        """Begin. A call after stop() does nothing."""

    def take(self, timeout: float) -> list[Any] | None:
        """Return the next items, or None when there are no more.

        The list is empty if none came within ``timeout`` seconds, or after wake().
        """

    def wake(self) -> None:
        """Make take() return: the call that is waiting now, or else the next one."""

    def stop(self) -> None:
        """End, without waiting. A second call does nothing."""


class News(Protocol):
    """Hears that a supply has items, or has ended."""

    def __call__(self, *, urgent: bool) -> None:
        """Note that something waits. Without ``urgent``, it may wait for more."""


class Supply(Protocol):
    """The items of an answer that outlives its readers. Nobody waits at a supply.

    The consumer calls start() once, and take_ready() after each news. stop() may be
    called from any thread.
    """

    #: The error that ended the items, None without one. The consumer takes it away.
    error: BaseException | None

    #: Whether the consumer has all items.
    exhausted: bool

    def start(self, on_news: News) -> None:
        """Begin. A call after stop() does nothing.

        ``on_news`` must not block. It is called when the first item waits, and with
        ``urgent`` when there is no room for another one, or no other one comes.
        """

    def take_ready(self) -> list[Any] | None:
        """Return the items that wait, or None when there are no more."""

    def stop(self) -> None:
        """End, without waiting. A second call does nothing."""
