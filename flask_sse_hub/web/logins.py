"""Logins: a login or a logout ends the streams of the session that it replaces.

Knows Flask-Login's signals and the session's ids. Does not know streams: the hub ends
them on every worker.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Flask, Response, session
from flask.globals import request_ctx

from ..auth import sessions
from ..auth.sessions import EndedLogins
from ..errors import InvalidName
from ..events import address
from ..events.address import Address
from ..hub.clients.close_reason import CloseReason
from ..hub.hub import Hub


class Logins:
    """React to the logins and logouts of one app."""

    def __init__(self, hub: Callable[[], Hub], *, login_required: bool) -> None:
        self._hub = hub
        self._login_required = login_required

    def watch(self, app: Flask) -> None:
        """Renew sessions at login and logout, and end the streams of the old ones."""
        app.after_request(self._after_request)
        try:
            from flask_login import user_logged_in, user_logged_out
        except ImportError:
            return
        user_logged_in.connect(self._logged_in, sender=app)
        user_logged_out.connect(self._logged_out, sender=app)

    def _after_request(self, response: Response) -> Response:
        """End the streams of a session that the app has emptied without a logout."""
        # Flask notes each access to flask.session and would add "Vary: Cookie" to every
        # page of the app. Flask 3.1.3 has no public way to ask without an access.
        if getattr(request_ctx, "_session", session).modified:
            ended = sessions.ended_by_clearing()
            # A login or a logout in this request may have ended the session already.
            if ended.minted is None or not self._has_ended(ended.minted):
                self._end(ended)
        return response

    def _has_ended(self, session_id: str) -> bool:
        return self._hub().has_ended(address.session(session_id))

    def _logged_in(self, _: Flask, user: Any, **__: Any) -> None:
        # Streams that were opened before the login belong to another user, or to an
        # anonymous visitor.
        self._end(sessions.ended_by_login(str(user.get_id())))

    def _logged_out(self, _: Flask, user: Any, **__: Any) -> None:
        user_id = user.get_id() if user is not None else None
        self._end(sessions.ended_by_logout(None if user_id is None else str(user_id)))

    def _end(self, ended: EndedLogins) -> None:
        if ended.anonymous and self._login_required:
            # Without a login there are no streams to end, and a stranger could fill the
            # log with control records.
            return
        if ended.minted is not None:
            self._end_streams(address.session(ended.minted), final=True)
        if ended.unnamed is not None:
            self._end_streams(address.session(ended.unnamed))
        if ended.user is not None:
            # A user whose id cannot be the name of an address has no streams.
            with suppress(InvalidName):
                self._end_streams(address.user(ended.user))

    def _end_streams(self, owner: Address, *, final: bool = False) -> None:
        self._hub().disconnect((owner,), reason=CloseReason.SESSION_ENDED, final=final)
