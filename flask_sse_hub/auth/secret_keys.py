"""The app's secret keys for signing and verifying, rotated like Flask's sessions."""

from typing import Any

from flask import current_app

from ..errors import ConfigurationError


def secret_keys(what: str) -> list[Any]:
    """Return the app's keys, the newest last. The last one signs; all of them verify.

    Raises ConfigurationError if the app has no SECRET_KEY. ``what`` names the signed
    thing in the error's text.
    """
    key = current_app.secret_key
    if not key:
        raise ConfigurationError(
            f"{what} is signed with the app's SECRET_KEY, and none is set: set it to"
            " the same random value in every process"
        )
    return [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), key]
