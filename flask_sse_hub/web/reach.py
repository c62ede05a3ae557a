"""Reach: whether events travel to every process that has clients of this app.

Knows from requests whether the server has several processes, and from the broker how
far events travel. Does not know the events.
"""

from collections.abc import Callable

from flask import has_request_context, request

from ..errors import ConfigurationError
from ..hub.hub import Hub
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import FirstTime

log = CodedLog(__name__)


class Reach:
    """The reach of one app's events."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._several_processes = False
        self._first_time = FirstTime()

    def check(self) -> None:
        """Raise ConfigurationError if events would not reach every process.

        Only a request tells whether the server runs several processes. Code outside a
        request, such as a thread that publishes, uses the answer of the last request.
        """
        obstacle = self.obstacle()
        if obstacle is not None:
            raise ConfigurationError(obstacle)

    def obstacle(self) -> str | None:
        """Return why events would not reach every process, None if they would."""
        if has_request_context():
            self._several_processes = bool(request.environ.get("wsgi.multiprocess"))
        if self._several_processes and self._hub().reach == "process":
            return (
                "SSE_HUB_BROKER_URL = 'memory://' keeps events within one process, and"
                " this server runs several: most clients would miss most events. Set it"
                " to 'sqlite:///sse_hub.db', or start one worker (gunicorn --workers 1)"
            )
        return None

    def warn_of_silence(self, outcome: str) -> None:
        """Log once that a script on memory:// reaches no client.

        ``outcome`` says what the call did not do.
        """
        hub = self._hub()
        if (
            not has_request_context()
            and hub.reach == "process"
            and not hub.ready
            and self._first_time(outcome)
        ):
            log.warning(
                "SSE-1010",
                "SSE_HUB_BROKER_URL = 'memory://' keeps events within this process,"
                " which serves no stream: %s. Set it to 'sqlite:///sse_hub.db' to reach"
                " clients from scripts and shells",
                outcome,
            )
