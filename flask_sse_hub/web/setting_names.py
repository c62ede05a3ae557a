"""The names of settings: old ones, mistyped ones, and those of other packages.

Does not know the values, which may be passwords.
"""

import difflib
from collections.abc import Container, Iterable

from ..runtime.coded_log import CodedLog

log = CodedLog(__name__)

PREFIX = "SSE_HUB_"

# Keys from before the first release, and their present names.
_RENAMED = {
    f"{PREFIX}USER_LIMIT": f"{PREFIX}ON_USER_LIMIT",
    f"{PREFIX}HIJACK": f"{PREFIX}SOCKET_TAKEOVER",
}

# Beginnings that are meant as PREFIX. from_prefixed_env() takes "FLASK_" off, so it has
# its place only in the environment.
_MEANT_AS_PREFIX = ("SSEHUB", "SSE_HUB", "FLASK_SSE_HUB", "FLASK_SSEHUB")

# Settings of Flask-SSE.
_OTHERS = {
    "SSE_REDIS_URL": f"{PREFIX}BROKER_URL",
    "SSE_REDIS_KEY_PREFIX": f"{PREFIX}NAME",
}


def warn_of_names(settings: Iterable[str], known: Iterable[str]) -> None:
    """Log each setting that is probably meant for the hub and has no effect."""
    names = list(known)
    for key in settings:
        if key in names:
            continue
        if key.startswith(PREFIX):
            log.warning(
                "SSE-1001", "the setting %s is unknown%s", key, _hint(key, names)
            )
            continue
        meant = _meant_by(key, names)
        if meant is not None:
            log.warning(
                "SSE-1002",
                "the setting %s has no effect, because settings of the hub begin with"
                " %s%s",
                key,
                PREFIX,
                _hint(meant, names),
            )


def _meant_by(key: str, known: Container[str]) -> str | None:
    """Return the name that a key without the prefix is meant as, None if not ours."""
    if key in _OTHERS:
        return _OTHERS[key]
    upper = key.upper()
    for prefix in _MEANT_AS_PREFIX:
        if upper.startswith(prefix):
            return PREFIX + upper.removeprefix(prefix).lstrip("_")
    # Other packages may have settings that begin with SSE_.
    name = PREFIX + upper.removeprefix("SSE_")
    return name if upper.startswith("SSE_") and name in known else None


def _hint(key: str, known: Iterable[str]) -> str:
    if key in _RENAMED:
        return f"; it is now called {_RENAMED[key]}"
    # Compare without the prefix, which would make any two keys look alike.
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""
