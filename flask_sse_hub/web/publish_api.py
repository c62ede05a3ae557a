"""``POST {prefix}/publish``: events from whoever has a token, over HTTP.

Turns a body into records, and what is wrong with it into JSON. Takes no cookies and
asks for no login. Who may do what is known to ``tokens``, what an event may be to
``publisher``.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from ..auth.visitor import bearer_token
from ..errors import BrokerUnavailable, EventTooLarge, SSEHubError
from ..events import address
from ..events.address import MAX_TARGETS
from ..events.event import MAX_NAME_CHARS
from ..events.record import Record
from ..runtime.rare_log import RareLog
from ..streams.response import RETRY_AFTER
from . import tokens
from .app_state import AppState
from .request_body import parse_json, read_body
from .tokens import PublishToken

log = logging.getLogger(__name__)

#: The most events of one request; without a bound it could take for ever.
MAX_EVENTS = 100

# JSON may write a byte of data as six (\u000a); names have room beside that.
_JSON_BYTES_PER_BYTE = 6
_ENVELOPE_BYTES = 1_048_576

_NAMED = ("channel", "user", "session", "client")
_NEEDED = ("data", "target")

_OPTIONAL = ("type", "retry", "exclude_client", "idempotency_key")


class Refused(Exception):
    """Raised within this module for a request that is answered with an error."""

    def __init__(self, status: int, text: str, field: str = "", **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": text, **({"field": field} if field else {}), **more}


class PublishAPI:
    """The endpoint of one app."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._tokens = state.config.publish_tokens
        self._rare_log = RareLog(log)

    def handle(self) -> Response:
        """Publish what this request holds, or nothing of it, and say so in JSON.

        Only a broker that goes away in the middle of a list leaves a part published;
        the answer then has the ids of that part.
        """
        token = tokens.find(bearer_token() or "", self._tokens)
        try:
            if token is None:
                raise Refused(401, "a token is needed: Authorization: Bearer ...")
            return self._publish(self._given(), token)
        except Refused as refusal:
            label = "unknown" if token is None else token.label
            self._rare_log.say(
                (refusal.status, label),
                f"refused to publish over HTTP ({refusal.status}), the token: {label},"
                # Behind a proxy it may be whatever a stranger has sent.
                f" from {request.remote_addr!r:.60}",
            )
            return _json(refusal.body, refusal.status)

    def _given(self) -> Any:
        if request.mimetype != "application/json":
            raise Refused(415, "the Content-Type must be application/json")
        try:
            body = read_body(body_limit(self._state.config.max_event_bytes))
            return parse_json(body, pairs=_unique)
        except HTTPException as error:
            text = error.description or error.name
            raise Refused(error.code or 400, text) from error

    def _publish(self, given: Any, token: PublishToken) -> Response:
        events = given if isinstance(given, list) else [given]
        if not 1 <= len(events) <= MAX_EVENTS:
            raise Refused(400, f"a list has 1 to {MAX_EVENTS} events")
        if sum(map(_count_names, events)) > MAX_TARGETS:
            # Checking millions of them would hold up every stream of this worker.
            raise Refused(400, f"more than {MAX_TARGETS} names in one request")
        if events is not given:
            (event_id,) = self._append([("", self._record(given, token, ""))])
            return _json({"id": event_id}, 202)
        # All are checked before the first is published.
        records = [
            (f"[{position}]", self._record(event, token, f"[{position}]."))
            for position, event in enumerate(events)
        ]
        return _json({"ids": self._append(records)}, 202)

    def _append(self, records: Iterable[tuple[str, Record]]) -> list[str]:
        ids: list[str] = []
        for at, record in records:
            try:
                ids.append(self._state.publish(record))
            except BrokerUnavailable as error:
                raise Refused(
                    503,
                    "the broker cannot be reached: what has an id here was published,"
                    " of the event after it this is unknown, and what follows was not",
                    at,
                    ids=ids,
                ) from error
        return ids

    def _record(self, event: Any, token: PublishToken, at: str) -> Record:
        """Return the record of an event; ``at`` is what its fields are called after."""
        _check_fields(event, (*_NEEDED, *_OPTIONAL), at)
        for name in _NEEDED:
            if name not in event:
                raise Refused(400, "this field is needed", at + name)
        target = event["target"]
        if target == "everyone":
            target = {}
        else:
            _check_fields(target, _NAMED, f"{at}target.", 'or is "everyone"')
            if not target:
                raise Refused(400, "it is empty, and names nobody", f"{at}target")
        fields = {name: value for name, value in event.items() if name in _OPTIONAL}
        # Each field alone first, so that an error has its name.
        for name, value in fields.items():
            self._checked("", {name: value}, at + name)
        for kind, names in target.items():
            self._checked("", {kind: names}, f"{at}target.{kind}")
        if "idempotency_key" in fields:
            fields["idempotency_key"] = _namespaced(
                fields["idempotency_key"], token, f"{at}idempotency_key"
            )
        record = self._checked(event["data"], {**fields, **target}, f"{at}data")
        _check_scope(record, token, f"{at}target")
        return record

    def _checked(self, data: Any, fields: Mapping[str, Any], field: str) -> Record:
        if None in fields.values():
            raise Refused(400, "it is null: leave out what is not meant", field)
        try:
            return self._state.composer.record(data, **fields)
        except EventTooLarge as error:
            raise Refused(413, str(error), field) from error
        except SSEHubError as error:
            raise Refused(400, str(error), field) from error


def body_limit(max_event_bytes: int) -> int:
    """Return how long a body may be: the largest event fits, however it is escaped."""
    return _JSON_BYTES_PER_BYTE * max_event_bytes + _ENVELOPE_BYTES


def exempt_from_csrf(view: Callable[..., Any]) -> None:
    """Have Flask-WTF, if the app has it, ask for no CSRF token at a view.

    What it guards against is a browser that sends its cookies along with a forged
    request. The view takes no cookies, and nothing forged has its token.
    """
    exempt = getattr(current_app.extensions.get("csrf"), "exempt", None)
    if exempt is not None:
        exempt(view)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # The last target would win, and somebody else may have read the first.
        raise ValueError("an object has a key twice")
    return found


def _count_names(event: Any) -> int:
    """Return how many names an event lists, whatever else is wrong with it."""
    if not isinstance(event, dict):
        return 0
    target = event.get("target")
    given = [*target.values()] if isinstance(target, dict) else []
    given.append(event.get("exclude_client"))
    return sum(len(names) for names in given if isinstance(names, list))


def _check_fields(
    given: Any, allowed: tuple[str, ...], at: str, otherwise: str = ""
) -> None:
    if not isinstance(given, dict):
        names = ", ".join(allowed)
        text = f"it must be an object that has {names} {otherwise}".strip()
        raise Refused(400, text, at.removesuffix("."))
    for name in given:
        if name not in allowed:
            names = ", ".join(allowed)
            # It may be of any length.
            raise Refused(
                400, f"there are {names}, and nothing else", f"{at}{name:.50}"
            )


def _namespaced(key: str, token: PublishToken, field: str) -> str:
    # Nobody may take a key that the app or another token's holder is going to use: the
    # event would be taken for published, and its id told.
    most = MAX_NAME_CHARS - len(token.namespace)
    if len(key) > most:
        raise Refused(400, f"it has {len(key)} characters; {most} are allowed", field)
    return token.namespace + key


def _check_scope(record: Record, token: PublishToken, field: str) -> None:
    target = address.names_of(record.addresses)
    if isinstance(target, str):
        if not token.allows(target):
            raise Refused(403, "this token may not publish to everyone", field)
        return
    for kind, names in target.items():
        if not token.allows(kind):
            text = f"this token may not publish to a {kind}"
            raise Refused(403, text, f"{field}.{kind}")
        for name in names:
            if kind == "channel" and not token.allows_channel(name):
                text = f"this token may not publish to the channel {name!r}"
                raise Refused(403, text, f"{field}.{kind}")


def _json(body: Mapping[str, Any], status: int) -> Response:
    # Not by the app's provider: what a client sent may be told back, and not every
    # provider can write every text.
    response = Response(json.dumps(body) + "\n", status, mimetype="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER
    return response
