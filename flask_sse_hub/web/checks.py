"""The checks of the settings, one for each kind of value.

Each returns the value in the form in which it is used, and raises ValueError with the
remedy. Does not know the names of the settings.
"""

import re
from collections.abc import Callable
from typing import Any

from ..brokers import check_name, check_url
from ..errors import ConfigurationError
from ..events.event import LARGEST_BYTES, check_retry
from ..events.seconds import checked_seconds
from ..webhooks.schemes import StandardWebhooks, standard_key
from .rates import parse_rate
from .tokens import read_patterns

#: The access to the statistics: a bearer token, or a callable without arguments that is
#: called in the request.
StatsAccess = str | Callable[[], bool] | None

# Origins as browsers write them: https://app.example:8443, http://[::1],
# capacitor://localhost.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")

# Hosts as clients send them: app.example, localhost:8000, [::1]:8000.
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?!(80|443)$)\d{1,5})?")
_SUBDOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

# Characters of a URL as RFC 3986 has them. Others have to be written with a percent
# sign.
_HOOK_URL = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?"
    r"(/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?(\?[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*)?"
)

# The standard's own bound for secrets.
_HOOK_KEY_BYTES = 24

Check = Callable[[Any], Any]

# The largest number, in seconds, bytes or events. It is as good as no limit, and every
# broker stores it exactly.
_MOST = 10**12


def seconds(value: Any) -> float:
    """Return a number of seconds above 0."""
    return checked_seconds(value, what="it", above=0.0, most=_MOST)


def count(value: Any) -> int:
    """Return a whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is needed")
    if not 1 <= value <= _MOST:
        raise ValueError(f"it must be at least 1, and at most {_MOST}")
    return value


def count_or_none(value: Any) -> int | None:
    """Return a whole number from 1 on; None is no limit."""
    return None if value is None else count(value)


def event_bytes(value: Any) -> int:
    """Return a size that one event may have."""
    if count(value) > LARGEST_BYTES:
        raise ValueError(
            f"it must be at most {LARGEST_BYTES}. For larger data publish an address to"
            " load it from"
        )
    return int(value)


def flag(value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ValueError("True or False is needed; in the environment true or false")
    return value


def auto_or_off(value: Any) -> str | bool:
    """Return ``"auto"`` or False."""
    if value is not False and value != "auto":
        raise ValueError("'auto' or False is needed; in the environment auto or false")
    return "auto" if value else False


def delay_range(value: Any) -> tuple[float, float]:
    """Return a range of two numbers of seconds."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("two numbers of seconds are needed, such as (2.0, 5.0)")
    least, most = map(seconds, value)
    check_retry(most, what="it", error=ValueError)
    if least > most:
        raise ValueError("the first number must not be above the second")
    return least, most


def broker_url(value: Any) -> str:
    """Return a URL that names a broker."""
    url = text(value)
    check_url(url)
    return url


def url_prefix(value: Any) -> str:
    """Return a path that a blueprint can be mounted at."""
    if not isinstance(value, str) or not re.fullmatch(r"(/[^\s/<>]+)+", value):
        raise ValueError(
            "a path such as /events is needed: it begins with /, does not end with it,"
            " and has neither spaces nor variable parts"
        )
    return value


def host(value: Any) -> str | None:
    """Return a host as clients send it, with an unusual port; None is every host."""
    if value is None:
        return None
    if not isinstance(value, str) or not _HOST.fullmatch(value.lower()):
        raise ValueError(
            "a host such as app.example or localhost:8000 is needed, without a scheme,"
            " a path or a variable part, and without the usual port"
        )
    return value.lower()


def subdomain(value: Any) -> str | None:
    """Return a subdomain; "" is the domain itself, None the domain and subdomains."""
    if value is None or value == "":
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or not _SUBDOMAIN.fullmatch(value.lower()):
        raise ValueError(
            "a subdomain such as www is needed, without the domain and without a"
            " variable part"
        )
    return value.lower()


def one_of(*allowed: str) -> Check:
    """Return a check for one of these strings."""

    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError("it must be " + " or ".join(map(repr, allowed)))
        return str(value)

    return check


def text(value: Any) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("a string that is not empty is needed")
    return value


def log_name(value: Any) -> str | None:
    """Return a name for a log; None is the app's name."""
    if value is None:
        return None
    # from_prefixed_env() turns a name of digits into a number.
    name = str(value) if type(value) is int else value
    check_name(name)
    return str(name)


def stats_access(value: Any) -> StatsAccess:
    """Return a token, a callable, or None."""
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or len(value) < 16:
        raise ValueError("a callable or a token of at least 16 characters is needed")
    return value


def origins(value: Any) -> tuple[str, ...]:
    """Return origins in the form in which browsers send them."""
    origins = read_patterns(value)
    for origin in origins:
        if origin == "*":
            raise ValueError(
                "'*' would let every page on the web use the visitor's login: name each"
                " origin"
            )
        if not _ORIGIN.fullmatch(origin) or _USUAL_PORT.fullmatch(origin):
            raise ValueError(
                f"{origin!r} is not an origin as browsers send it, such as"
                " https://app.example:8443: scheme, host in lower case, port unless it"
                " is the usual one, and no path"
            )
    return origins


def hook_urls(value: Any) -> tuple[str, ...]:
    """Return URLs for signed deliveries, each once."""
    urls = tuple(dict.fromkeys(read_patterns(value)))
    for url in urls:
        if not _HOOK_URL.fullmatch(url):
            raise ValueError(
                f"{url!r:.100} is not a URL for deliveries, such as"
                " https://app.example/hooks: scheme http or https, host, port and path,"
                " without a user, a fragment or spaces"
            )
    return urls


def hook_secrets(value: Any) -> StandardWebhooks | None:
    """Return the secrets of signed deliveries; None without any."""
    if value is None:
        return None
    texts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("a string is needed, or a list of strings")
    try:
        scheme = StandardWebhooks(tuple(texts))
        is_short = any(len(standard_key(text)) < _HOOK_KEY_BYTES for text in texts)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    if is_short:
        raise ValueError(
            f"a secret has less than {_HOOK_KEY_BYTES} bytes, and could be guessed:"
            " make one with `python -c \"import base64, secrets; print('whsec_' +"
            ' base64.b64encode(secrets.token_bytes(32)).decode())"`'
        )
    return scheme


def rate(value: Any) -> str | None:
    """Return a rate that the package ``limits`` understands; None is no limit."""
    if value is None:
        return None
    parse_rate(text(value))
    return str(value)
