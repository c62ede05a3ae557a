"""The query of a request for the blueprint's stream: names that nobody reads.

A mistyped name would otherwise give a stream that stays silent. Clients add names of
their own, against caches for example, so an unknown name is never refused. Does not
know what the names are for.
"""

import difflib

from flask import current_app, request

from ..runtime.coded_log import CodedLog
from ..server.connection import QUERY_NAMES

log = CodedLog(__name__)

# The switches, each of which is on with one of the texts in YES.
_SWITCHES = ("state", "presence", "names_channels")
YES = ("1", "true")

_KNOWN = ("channel", "ticket", "client_id", *_SWITCHES, *QUERY_NAMES)

_CHANNEL = "use channel=, once for each channel"
_TICKET = "use ticket=, with a ticket from sse_hub.ticket()"
_CLIENT = "use client_id=, with an id from sse_hub.client_id()"
_USER = "leave it out, because the login or the ticket tells the user"
_TYPE = "leave it out, because the page chooses types with addEventListener()"

# The names in other servers' URLs.
_WORDS = {
    **dict.fromkeys(
        ["channels", "channel[]", "channels[]", "room", "topic", "topics", "stream"],
        _CHANNEL,
    ),
    **dict.fromkeys(["token", "access_token", "jwt", "authorization"], _TICKET),
    **dict.fromkeys(["clientId", "clientID"], _CLIENT),
    **dict.fromkeys(["user", "user_id", "userId"], _USER),
    **dict.fromkeys(["event", "events", "type", "types"], _TYPE),
}

# The most names that one process logs: each takes memory, and clients choose them.
_MOST_LOGGED = 20


class QueryNames:
    """The unknown names in the queries of one app's streams."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def warnings(self) -> list[str]:
        """Return a text for each mistake in this request's query.

        Each is logged once for each name. Outside debug mode, names that are not logged
        have no text: a search for the closest name takes longer than all the rest.
        """
        if not request.args:
            return []
        found = {
            name: f"the query name {name!r:.50} is unknown: {_remedy(name)}"
            for name in request.args
            if name not in _KNOWN and (current_app.debug or self._is_news(name))
        }
        channels = request.args.getlist("channel")
        for name in _SWITCHES:
            if request.args.get(name, "1") not in YES:
                found[name] = f"{name}= has no effect unless it is 1 or true"
        if any("," in name for name in channels):
            found["channel"] = (
                "a comma in channel= is a part of the channel's name: for several"
                " channels, write channel=a&channel=b"
            )
        for name, text in found.items():
            self._log_once(name[:50], text)
        return list(found.values())

    def _is_news(self, name: str) -> bool:
        return len(self._logged) < _MOST_LOGGED and name[:50] not in self._logged

    def _log_once(self, name: str, text: str) -> None:
        if self._is_news(name):
            self._logged.add(name)
            log.warning("SSE-1006", "in a request for a stream, %s", text)


def _remedy(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    close = difflib.get_close_matches(name[:50], _KNOWN, n=1)
    return f"did you mean {close[0]}=?" if close else "it has no effect"
