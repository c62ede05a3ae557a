"""Problems: faults of the server or the configuration that make streams fail.

One list of them, for ``flask sse check``, for the health check, and for the log at the
first request. Does not know faults that pass, such as a broker that is away.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flask import Flask, request, request_started
from flask.sessions import SecureCookieSessionInterface

from ..auth.secret_keys import no_secret_key
from ..auth.visitor import NO_LOGIN_MANAGER, has_request_loader, login_manager
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import FirstTime
from ..server.support import server_obstacle
from ..server.surroundings import surroundings
from . import receivers
from .config import Config
from .reach import Reach

log = CodedLog(__name__)


class Problem(NamedTuple):
    """A fault and its remedy, in the words of the error that it leads to."""

    text: str
    #: Whether it makes every stream fail. Otherwise only client ids and tickets fail.
    stops_streams: bool


class Problems:
    """The problems of one app."""

    def __init__(self, app: Flask, config: Config, reach: Reach) -> None:
        self._app = app
        self._config = config
        self._reach = reach
        self._first_time = FirstTime()

    def found(self, environ: Mapping[str, Any] | None = None) -> list[Problem]:
        """Return the problems that can be known now.

        Only a request's ``environ`` tells about the server.
        """
        return [*self._of_server(environ or {}), *self._of_app()]

    def that_stop_streams(self, environ: Mapping[str, Any]) -> str | None:
        """Return why every stream of this server fails, one problem on each line."""
        texts = [each.text for each in self.found(environ) if each.stops_streams]
        return "\n".join(texts) or None

    def that_spare_streams(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the problems beside which streams can still be opened."""
        return [each.text for each in self.found(environ) if not each.stops_streams]

    def _of_server(self, environ: Mapping[str, Any]) -> Iterator[Problem]:
        obstacle = server_obstacle(environ, surroundings(environ)) if environ else None
        if obstacle is not None:
            yield Problem(obstacle, stops_streams=True)
        # The hub of any other broker has to be made before it can tell its reach.
        if environ and self._config.broker_url == "memory://":
            short = self._reach.obstacle()
            if short is not None:
                yield Problem(short, stops_streams=True)

    def _of_app(self) -> Iterator[Problem]:
        app, login_required = self._app, self._config.login_required
        if login_required and login_manager(app) is None:
            yield Problem(NO_LOGIN_MANAGER, stops_streams=True)
        if not app.secret_key:
            yield Problem(
                no_secret_key("a client id"),
                # Without a key there are no sessions, and nobody can log in by one.
                stops_streams=login_required
                and not has_request_loader(app)
                and isinstance(app.session_interface, SecureCookieSessionInterface),
            )

    def watch(self, app: Flask) -> None:
        """Log the problems at the first request of any kind, before it is handled."""
        receivers.connect(request_started, self._request_started, app)

    def _request_started(self, app: Flask, **__: Any) -> None:
        for problem in self.found(request.environ):
            if self._first_time(problem.text):
                what = (
                    "all streams" if problem.stops_streams else "client ids and tickets"
                )
                log.warning(
                    "SSE-1005", "%s of this app will fail: %s", what, problem.text
                )
        if surroundings(request.environ).server is not None:
            # Later requests come from the same server, and need not be looked at. After
            # a test client's request, the server is still to come.
            receivers.disconnect(request_started, self._request_started, app)
