"""The functions of an app that go on with answers whose worker is gone.

A function cannot travel, so another worker has it by its name. A record in the log can
call no other function. Does not know when an answer is restarted.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from flask import Flask

from ..answers.batch import Batch
from ..answers.lasting.arguments import converter
from ..answers.lasting.items import restored_item
from ..answers.lasting.records import Begun, Content, Restart
from ..answers.producer import BUFFERED_ITEMS, Producer, close_iterable
from ..answers.protocols import protocol_named
from ..answers.response import check_items
from ..errors import InvalidOption
from ..events.typed.registry import EventTypes
from ..runtime.arguments import explaining
from .registering import check_rule, place

#: ``f(answer_id, so_far) -> iterable``. Returns the items that follow: those so far are
#: a text, or a list of items where the answer has no ``merge``.
Restarter = Callable[[str, Any], Iterable[Any]]

# The most characters of a function's name. Each record of an answer's turn has it.
_LONGEST_NAME = 200

_REGISTER = "decorate it with @sse_hub.restart_answer, where the module is imported"


class Restarters:
    """The registered functions, by the names under which other workers know them."""

    def __init__(self) -> None:
        #: The functions, by name.
        self.functions: dict[str, Restarter] = {}

    def register(self, function: Restarter) -> None:
        """Add a function. Raises InvalidOption if it is unsuitable."""
        name = _name_of(function)
        check_rule(
            "restart_answer",
            self.functions.get(name),
            function,
            ("answer_id", "so_far"),
        )
        if "<lambda>" in name or len(name) > _LONGEST_NAME:
            raise InvalidOption(
                "restart_answer takes a function with a name, by which another worker"
                f" finds it, not {name:.80}: write `def`"
            )
        self.functions[name] = function

    def plan(
        self,
        function: Restarter | None,
        *,
        batch: Batch,
        timeout: float,
        app_context: bool,
    ) -> Restart | None:
        """Return how another worker goes on with an answer, None without a function.

        Raises InvalidOption for a function that is not registered, and for a merge that
        another worker does not have.
        """
        if function is None:
            return None
        if batch.merge is not None and batch.merge != "".join:
            raise InvalidOption(
                'restart= needs merge="".join, or no merge: another worker would not'
                " have the function"
            )
        name = self._registered_name(function)
        return Restart(
            function=name,
            timeout=timeout,
            app_context=app_context,
            size=batch.size,
            interval=batch.interval,
        )

    def _registered_name(self, function: object) -> str:
        name = _name_of(function)
        if place(self.functions.get(name)) != place(function):
            raise InvalidOption(
                "restart= takes a function that other workers have too, and"
                f" {name:.80} is not registered: {_REGISTER}"
            )
        return name


def _name_of(function: object) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '?')}.{name}"


class HasRestarters:
    """The decorator that registers such a function."""

    _restarters: Restarters

    @explaining("@sse_hub.restart_answer above the function", words={})
    def restart_answer(self, function: Restarter) -> Restarter:
        """Register ``f(answer_id, so_far)``, which returns the rest of an answer.

        Pass the function to ``answers.start(restart=f)``. If the worker that makes the
        answer goes away, another worker calls the function, and appends the items that
        it returns to the answer. ``so_far`` is the text so far, or the list of the
        items so far if the answer has no ``merge``.

        For example::

            @sse_hub.restart_answer
            def go_on(answer_id, so_far):
                return complete("Go on with: " + so_far)

        Args:
            function: The function. An app can have several.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: It is a lambda, another one has its name, or it cannot be
                called as above.

        """
        self._restarters.register(function)
        return function


class AppRestarts:
    """The restarts of one app's answers, in one process."""

    def __init__(
        self,
        app: Flask,
        restarters: Restarters,
        *,
        event_types: EventTypes,
        most_running: int,
    ) -> None:
        self._app = app
        self._restarters = restarters
        self._event_types = event_types
        self._most_running = most_running

    @property
    def debug(self) -> bool:
        """Whether readers may see the text of an error of this package."""
        return self._app.debug

    def lacks(self, begun: Begun, *, running: int) -> str | None:
        """Return what this process lacks to go on with an answer, None if nothing."""
        name = "" if begun.restart is None else begun.restart.function
        if name not in self._restarters.functions:
            return f"it has no function {name} with @sse_hub.restart_answer"
        if running >= self._most_running:
            return f"it runs {running} answers (SSE_HUB_ANSWERS_PER_WORKER)"
        return None

    def source(self, begun: Begun, content: Content) -> Producer:
        """Return the items that follow the content. Raises LookupError."""
        restart = begun.restart
        if restart is None:
            raise LookupError(begun.id)
        function = self._restarters.functions[restart.function]
        return Producer(
            _rest(function, begun, content),
            convert=converter(
                protocol_named(begun.protocol),  # type: ignore[arg-type]
                dumps=self._app.json.dumps,
                is_text=begun.is_text,
                event_types=self._event_types,
            ),
            around=self._app.app_context if restart.app_context else nullcontext,
            room=min(restart.size, BUFFERED_ITEMS),
        )


def _rest(function: Restarter, begun: Begun, content: Content) -> Iterator[Any]:
    so_far = content
    if not isinstance(content, str):
        so_far = [restored_item(stored) for stored in content]
    items = function(begun.id, so_far)
    try:
        check_items(items, None)
        yield from items
    finally:
        close_iterable(items)
