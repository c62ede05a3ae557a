"""``POST {prefix}/subscriptions``: other channels for a stream that is open.

Asks in this request what a new stream would be asked, and writes the change to the log.
The worker that has the stream carries it out. Does not know which worker that is, or
whether the stream is still open.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, UnsupportedMediaType

from ..auth.client_ids import owns_client_id
from ..errors import BrokerUnavailable, ClientRefused, InvalidName
from ..events.channel_patterns import checked_subscription
from ..events.event import MAX_NAME_CHARS
from ..events.record import Cursor, Subscribe
from ..streams.response import refused
from ..webhooks.request_body import parse_json, read_body
from .app_state import AppState
from .subscribing import temporarily_refused

_KEYS = ("client_id", "subscribe", "unsubscribe", "since")

# JSON may escape a character of a name as twelve bytes (\ud83d\ude00).
_BYTES_PER_NAME = 12 * MAX_NAME_CHARS
# The room for the client's id and all else beside the names.
_ENVELOPE_BYTES = 8_192


class SubscriptionsAPI:
    """The endpoint of one app that changes the channels of open streams."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def handle(self) -> Response:
        """Write the change to the log, and answer with the id of its place there.

        Raises HTTPException.
        """
        state = self._state
        access = state.access
        state.reach.check()
        # A page of another site could send the visitor's cookies.
        state.origins.refuse_others()
        try:
            state.subscribing.check_rate()
        except ClientRefused as refusal:
            return temporarily_refused(refusal)
        load = access.arrive()
        client_id, change = self._given()
        visitor = load()
        # A stream keeps its id as long as it is open.
        age = state.config.max_age
        if not owns_client_id(client_id, visitor.identity, grace=age):
            raise Forbidden(
                "this client_id is not yours: send the one of your stream's event"
                " `connected`. An id of a visitor without a session belongs to nobody"
            )
        access.check(visitor, change.added, access.is_open)
        try:
            # A stream that a view has made invisible keeps its channels.
            presence = state.presence.parts(visitor, change.added)
        except InvalidName as error:
            raise BadRequest(str(error)) from error
        change = replace(change, presence=presence)
        try:
            place = state.hub.change_channels(client_id, change)
        except BrokerUnavailable:
            why = (
                "the broker cannot be reached: it is unknown whether the change is made"
            )
            return refused(why, status=503)
        response = jsonify(id=str(place))
        response.status_code = 202
        return response

    def _given(self) -> tuple[str, Subscribe]:
        """Return the client's id, and the change that is asked for."""
        if request.mimetype != "application/json":
            raise UnsupportedMediaType(
                f"the Content-Type is {request.mimetype!r:.60}: send application/json"
            )
        names = 2 * self._state.config.max_channels
        given = parse_json(read_body(_ENVELOPE_BYTES + names * _BYTES_PER_NAME))
        if not isinstance(given, dict) or not given.keys() <= {*_KEYS}:
            keys = ", ".join(_KEYS)
            raise BadRequest(f"an object with the keys {keys} is needed")
        client_id = given.get("client_id")
        if not isinstance(client_id, str):
            raise BadRequest("client_id must be the text of the event `connected`")
        added = self._names(given, "subscribe")
        removed = self._names(given, "unsubscribe")
        if not added and not removed:
            raise BadRequest("name a channel in subscribe or unsubscribe")
        if both := set(added).intersection(removed):
            raise BadRequest(f"{both.pop()!r:.60} is in subscribe and in unsubscribe")
        return client_id, Subscribe(added, removed, _place(given.get("since"), added))

    def _names(self, given: Mapping[str, Any], key: str) -> tuple[str, ...]:
        names = given.get(key, [])
        if not isinstance(names, list):
            raise BadRequest(f"{key} must be a list of channels")
        most = self._state.config.max_channels
        if len(names) > most:
            raise BadRequest(
                f"{key} has {len(names)} channels; SSE_HUB_MAX_CHANNELS allows {most}"
            )
        try:
            return tuple(dict.fromkeys(checked_subscription(name) for name in names))
        except InvalidName as error:
            raise BadRequest(f"{key}: {error}") from error


def _place(since: object, added: tuple[str, ...]) -> Cursor | None:
    """Return the place of the id after which the added channels begin."""
    if since is None:
        return None
    place = Cursor.parse(since) if isinstance(since, str) else None
    if place is None:
        raise BadRequest(
            f"since is {since!r:.60}: send the id of an event, or leave it out to begin"
            " with the next event"
        )
    if not added:
        raise BadRequest("since is the id after which channels in subscribe begin")
    return place
