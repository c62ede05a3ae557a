"""The app's secret keys, as they sign and verify: the rotation of Flask's sessions."""

from typing import Any

from flask import current_app

from ..errors import ConfigurationError


def secret_keys(what: str) -> list[Any]:
    """Return the app's keys, the newest last: it signs, and all of them verify.

    ``what`` names the signed thing in the text of ConfigurationError, which is raised
    for an app without a SECRET_KEY.
    """
    key = current_app.secret_key
    if not key:
        raise ConfigurationError(f"{what} is signed, which needs the app's SECRET_KEY")
    return [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), key]
