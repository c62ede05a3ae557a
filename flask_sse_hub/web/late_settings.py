"""Settings that an app changes after ``init_app``, where they have no effect.

Compares the app's configuration with the one that was read. Does not know what the
settings mean.
"""

from typing import Any

from flask import Flask, current_app

from ..runtime.coded_log import CodedLog
from .setting_names import PREFIX

log = CodedLog(__name__)


class LateSettings:
    """The settings of one app as ``init_app`` read them."""

    def __init__(self, app: Flask) -> None:
        self._read = _settings(app)
        self._told: set[str] = set()
        self._requested = False

    def watch(self, app: Flask) -> None:
        """Check at the first request: by then an app has set all that it sets."""
        app.before_request(self._before_request)

    def _before_request(self) -> None:
        if not self._requested:
            self._requested = True
            self.check(current_app)

    def check(self, app: Flask) -> None:
        """Log each setting that has changed, once.

        The log has the names alone: a value may hold a password.
        """
        now = _settings(app)
        for key in sorted((self._read.keys() | now.keys()) - self._told):
            if self._read.get(key) != now.get(key):
                self._told.add(key)
                log.warning(
                    "SSE-1003",
                    "the setting %s was changed after init_app and has no effect: set"
                    " it before",
                    key,
                )


def _settings(app: Flask) -> dict[str, Any]:
    return {key: value for key, value in app.config.items() if key.startswith(PREFIX)}
