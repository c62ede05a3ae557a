"""``POST {prefix}/publish``: publishing over HTTP, with a bearer token.

Turns a request's body into records, and its faults into errors in JSON. Takes no
cookies and needs no login. Does not know which token may do what (``tokens`` does), or
which events are valid (``Composer`` does).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from ..auth.visitor import bearer_token
from ..errors import BrokerUnavailable, EventTooLarge, SSEHubError, StateFull
from ..events import address
from ..events.address import MAX_TARGETS
from ..events.event import MAX_NAME_CHARS, Event
from ..events.record import Record, Retention
from ..events.typed.registry import EventTypes
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from ..streams.response import RETRY_AFTER
from ..webhooks.request_body import parse_json, read_body
from . import tokens
from .app_state import AppState
from .rates import Rates, at_most, parse_rate
from .tokens import PublishToken

log = CodedLog(__name__)

#: The most events of one request. A request without a bound could take for ever.
MAX_EVENTS = 100

# JSON may escape one byte of data as six (\u000a).
_JSON_BYTES_PER_BYTE = 6
# The room for names and all else beside the data.
_ENVELOPE_BYTES = 1_048_576

_NAMED = ("channel", "user", "session", "client")
_NEEDED = ("data", "target")

_OPTIONAL = (
    "type",
    "retry",
    "exclude_client",
    "idempotency_key",
    "key",
    "delete",
    "ttl",
    "receipt",
)


class Refused(Exception):
    """Raised within this module for a request that is answered with an error."""

    def __init__(self, status: int, text: str, field: str = "", **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": text, **({"field": field} if field else {}), **more}


class PublishAPI:
    """The publish endpoint of one app."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._tokens = state.config.publish_tokens
        self._rates = Rates("the rate of a token in SSE_HUB_PUBLISH_TOKENS")
        self._shares = {
            token.digest: _share(token.share, state.config.retention)
            for token in self._tokens
            if token.share < 1
        }
        self._limits = {
            token.digest: [] if token.rate is None else parse_rate(token.rate)
            for token in self._tokens
        }
        self._rare_log = RareLog(log)

    def handle(self) -> Response:
        """Publish all events of this request or none, and respond in JSON.

        Only a broker that fails in the middle of a list leaves a part published. The
        response then has the ids of that part.
        """
        token = tokens.find(bearer_token() or "", self._tokens)
        try:
            if token is None:
                raise Refused(
                    401,
                    "no valid token: send `Authorization: Bearer ...` with a token of"
                    " SSE_HUB_PUBLISH_TOKENS",
                )
            return self._publish(self._given(), token)
        except Refused as refusal:
            label = "unknown" if token is None else token.label
            self._rare_log.warning(
                "SSE-1503",
                f"refused to publish over HTTP ({refusal.status}), token {label},"
                # repr, cut short: behind a proxy the address may be any text that a
                # stranger has sent.
                f" from {request.remote_addr!r:.60}",
                kind=(refusal.status, label),
            )
            return _json(refusal.body, refusal.status)

    def _given(self) -> Any:
        if request.mimetype != "application/json":
            raise Refused(
                415,
                f"the Content-Type is {request.mimetype!r:.60}: send application/json",
            )
        try:
            body = read_body(body_limit(self._state.config.max_event_bytes))
            return parse_json(body, pairs=_unique)
        except HTTPException as error:
            text = error.description or error.name
            raise Refused(error.code or 400, text) from error

    def _publish(self, given: Any, token: PublishToken) -> Response:
        events = given if isinstance(given, list) else [given]
        if not 1 <= len(events) <= MAX_EVENTS:
            raise Refused(
                400, f"the list has {len(events)} events: send 1 to {MAX_EVENTS}"
            )
        count = sum(map(_count_names, events))
        if count > MAX_TARGETS:
            # Checking millions of names would hold up every stream of this worker.
            raise Refused(
                400, f"the request has {count} names; {MAX_TARGETS} are allowed"
            )
        if events is not given:
            record = self._record(given, token, "")
            self._check_rate(token, [record])
            (event_id,) = self._append([("", record)])
            return _json({"id": event_id}, 202)
        # Check all events before the first one is published.
        records = [
            (f"[{position}]", self._record(event, token, f"[{position}]."))
            for position, event in enumerate(events)
        ]
        self._check_rate(token, [record for _, record in records])
        return _json({"ids": self._append(records)}, 202)

    def _check_rate(self, token: PublishToken, records: Sequence[Record]) -> None:
        # Events count, not requests: events fill the log and push out older ones.
        count = len(records)
        if not self._rates.allow(token.digest, self._limits[token.digest], count=count):
            raise Refused(
                429,
                f"{count} more would be above this token's rate, {token.rate}: wait,"
                " and send fewer events in one request",
            )
        if token.digest not in self._shares:
            return
        size = sum(record.size for record in records)
        counts = {"events": count, "bytes": size}
        for unit, limits in self._shares[token.digest].items():
            key = f"{token.digest}:{unit}"
            if not self._rates.allow(key, limits, count=counts[unit]):
                raise Refused(
                    429,
                    f"{counts[unit]} {unit} more would be above this token's share of"
                    f" the log, {token.share:g}: wait, or publish less",
                )

    def _append(self, records: Iterable[tuple[str, Record]]) -> list[str]:
        ids: list[str] = []
        for at, record in records:
            try:
                ids.append(self._state.publish(record))
            except StateFull as error:
                raise Refused(507, str(error), at, ids=ids) from error
            except BrokerUnavailable as error:
                raise Refused(
                    503,
                    "the broker cannot be reached: events with an id here were"
                    " published, the outcome of the next event is unknown, and the"
                    " events after it were not published",
                    at,
                    ids=ids,
                ) from error
        return ids

    def _record(self, event: Any, token: PublishToken, at: str) -> Record:
        """Return the record of an event. ``at`` is the prefix of its fields' names."""
        _check_fields(event, (*_NEEDED, *_OPTIONAL), at)
        for name in _NEEDED:
            if name not in event:
                raise Refused(400, "this field is required", at + name)
        target = event["target"]
        if target == "everyone":
            target = {}
        else:
            _check_fields(target, _NAMED, f"{at}target.", ', or the text "everyone"')
            if not target:
                raise Refused(
                    400,
                    'the target is empty: name one, or send "everyone"',
                    f"{at}target",
                )
        fields = {name: value for name, value in event.items() if name in _OPTIONAL}
        # Check each field alone first, so that an error has the field's name.
        for name, value in fields.items():
            needed = {"key": "any"} if name == "delete" else {}
            self._checked("", {**needed, name: value}, at + name, typed=False)
        for name in ("delete", "receipt"):
            if not isinstance(fields.get(name, False), bool):
                raise Refused(400, "true or false is needed", at + name)
        for kind, names in target.items():
            self._checked("", {kind: names}, f"{at}target.{kind}", typed=False)
            if names == []:
                # publish() takes an empty list, for a program whose list may be empty.
                # Here such events would reach nobody and push others out of the log.
                raise Refused(
                    400,
                    "this list is empty: name a target, or leave the key out",
                    f"{at}target.{kind}",
                )
        if "idempotency_key" in fields:
            fields["idempotency_key"] = _namespaced(
                fields["idempotency_key"], token, f"{at}idempotency_key"
            )
        record = self._checked(event["data"], {**fields, **target}, f"{at}data")
        _check_scope(record, token, at)
        return record

    def _checked(
        self, data: Any, fields: Mapping[str, Any], field: str, *, typed: bool = True
    ) -> Record:
        """Return a record. With ``typed=False``, any data fits the event's type."""
        if None in fields.values():
            raise Refused(400, "this field is null: leave it out", field)
        composer = self._state.composer
        if not typed:
            composer = replace(composer, event_types=EventTypes())
        try:
            return composer.record(data, **fields)
        except EventTooLarge as error:
            raise Refused(413, str(error), field) from error
        except SSEHubError as error:
            raise Refused(400, str(error), field) from error


def _share(share: float, log: Retention) -> dict[str, list[Any]]:
    """Return the limits of a share of the log, by the unit that each counts."""
    return {
        "events": at_most(share * log.events, seconds=log.seconds),
        "bytes": at_most(share * log.bytes, seconds=log.seconds),
    }


def body_limit(max_event_bytes: int) -> int:
    """Return the most bytes of a body: the largest event fits, even fully escaped."""
    return _JSON_BYTES_PER_BYTE * max_event_bytes + _ENVELOPE_BYTES


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # json would keep the last of two targets. A program that checked this body
        # before may have read the first.
        raise ValueError("an object has the same key twice")
    return found


def _count_names(event: Any) -> int:
    """Return how many names an event lists, even if the event is not valid."""
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
        text = f"an object with the keys {names} is needed{otherwise}"
        raise Refused(400, text, at.removesuffix("."))
    for name in given:
        if name not in allowed:
            names = ", ".join(allowed)
            # Cut short: an unknown key may have any length.
            raise Refused(
                400, f"this key is unknown; the keys are {names}", f"{at}{name:.50}"
            )


def _namespaced(key: str, token: PublishToken, field: str) -> str:
    # Each token has keys of its own. Otherwise a publisher could use up a key of the
    # app or of another token: that event would count as published already, and
    # publish() would return the id of a foreign event.
    most = MAX_NAME_CHARS - len(token.namespace)
    if len(key) > most:
        raise Refused(
            400, f"the key has {len(key)} characters; {most} are allowed", field
        )
    return token.namespace + key


def _check_scope(record: Record, token: PublishToken, at: str) -> None:
    field = f"{at}target"
    if isinstance(record.content, Event) and not token.allows_type(record.content.type):
        text = f"this token may not publish the type {record.content.type!r}"
        raise Refused(403, text, f"{at}type")
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
    # The app's JSON provider is not used: errors may repeat the client's text, and not
    # every provider can write every text.
    response = Response(json.dumps(body) + "\n", status, mimetype="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        response.headers["Retry-After"] = RETRY_AFTER
    return response
