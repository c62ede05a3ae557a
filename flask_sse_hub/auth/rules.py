"""Rules: the functions of an app that decide about its streams, and their answers.

Does not know requests.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidOption
from ..hub.clients.client import Metadata

#: ``f(user, channel) -> bool``. The user is None in an app without Flask-Login.
Authorizer = Callable[[Any, str], bool]

#: ``f() -> dict``. Called in the request that opens a stream.
Describer = Callable[[], Metadata]

#: ``f(user, channel) -> dict``. A result of None keeps the user invisible.
PresenceDescriber = Callable[[Any, str], Metadata | None]

#: ``f(user, channel) -> bool``.
PresenceViewer = Callable[[Any, str], bool]

#: ``f(user_id) -> user``. Returns None if the user no longer exists.
Reloader = Callable[[str], Any]


@dataclass(slots=True)
class Rules:
    """The functions that the app registered with the decorators of ``SSEHub``."""

    authorize: Authorizer | None = None
    describe: Describer | None = None
    reload: Reloader | None = None
    describe_presence: PresenceDescriber | None = None
    may_see_presence: PresenceViewer | None = None


def allows(rule: Callable[[Any, Any], bool], person: Any, what: object) -> bool:
    """Return a rule's answer about a channel, or about another thing.

    Raises InvalidOption if the answer is a coroutine.
    """
    answer = rule(person, what)
    if inspect.isawaitable(answer):
        # It would count as true, and open every channel.
        if inspect.iscoroutine(answer):
            answer.close()
        raise InvalidOption(
            "a rule returned a coroutine: async is not supported, so write a"
            " plain function that returns True or False"
        )
    return bool(answer)
