"""Logins: a login or a logout ends the streams of the session that it replaces.

Knows Flask-Login's signals and the session's ids. Does not know streams: the hub ends
them on every worker.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from flask import Flask, Response, request_started, session

from ..auth import sessions
from ..auth.sessions import EndedLogins
from ..errors import InvalidName
from ..events import address
from ..events.address import Address
from ..hub.clients.close_reason import CloseReason
from ..hub.hub import Hub
from . import receivers


class Logins:
    """React to the logins and logouts of one app."""

    def __init__(
        self,
        hub: Callable[[], Hub],
        *,
        login_required: bool,
        time_of_day: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._time_of_day = time_of_day
        self._login_required = login_required

    def watch(self, app: Flask) -> None:
        """Renew sessions at login and logout, and end the streams of the old ones."""
        # Sent before any function of the app that runs before a request.
        receivers.connect(request_started, self._request_started, app)
        app.after_request(self._after_request)
        try:
            from flask_login import (
                session_protected,
                user_logged_in,
                user_logged_out,
            )
        except ImportError:
            return
        receivers.connect(session_protected, self._session_protected, app)
        receivers.connect(user_logged_in, self._logged_in, app)
        receivers.connect(user_logged_out, self._logged_out, app)

    def _request_started(self, _: Flask, **__: Any) -> None:
        sessions.note_brought()

    def _after_request(self, response: Response) -> Response:
        """End the streams of a session that the app has emptied without a logout."""
        if sessions.is_cleared():
            self._end(sessions.ended_by_clearing(now=self._time_of_day()))
        return response

    def _session_protected(self, _: Flask, **__: Any) -> None:
        # Flask-Login sends this in each request whose browser is not the session's.
        # Only "strong" protection has taken the user from the session, and it leaves
        # the mark. The cookie of the request is then a copy.
        if session.get("_remember") == "clear" and sessions.has_lost_its_user():
            sessions.disown()

    def _logged_in(self, _: Flask, user: Any, **__: Any) -> None:
        # Streams that were opened before the login belong to another user, or to an
        # anonymous visitor.
        user_id = str(user.get_id())
        self._end(sessions.ended_by_login(user_id, now=self._time_of_day()))

    def _logged_out(self, _: Flask, user: Any, **__: Any) -> None:
        user_id = user.get_id() if user is not None else None
        self._end(sessions.ended_by_logout(None if user_id is None else str(user_id)))

    def _end(self, ended: EndedLogins) -> None:
        if ended.anonymous and self._login_required:
            # Without a login there are no streams to end, and a stranger could fill the
            # log with control records.
            return
        if ended.minted is not None:
            session_address = address.session(ended.minted)
            if self._hub().has_ended(session_address):
                # An old cookie stays valid, and its logout can be sent any number of
                # times. All streams of its session have ended.
                return
            self._end_streams(session_address, final=True)
        others = tuple(_others(ended))
        if others:
            self._end_streams(*others)

    def _end_streams(self, *owners: Address, final: bool = False) -> None:
        self._hub().disconnect(owners, reason=CloseReason.SESSION_ENDED, final=final)


def _others(ended: EndedLogins) -> Iterator[Address]:
    """Yield the addresses that end beside the session's own, and are used again."""
    if ended.unnamed is not None:
        yield address.session(ended.unnamed)
    if ended.user is not None:
        # A user whose id cannot be the name of an address has no streams.
        with suppress(InvalidName):
            yield address.user(ended.user)
