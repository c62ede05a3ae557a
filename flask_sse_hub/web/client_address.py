"""Callers: the network addresses that streams are asked for from, and how often.

Knows the package ``limits``, where a rate is configured. The address is the one that
Flask's request has: behind a proxy Werkzeug's ProxyFix has to put it there.
"""

import ipaddress
import logging
import re
from typing import Any

from flask import request

from ..runtime.rare_log import FirstTime, RareLog

log = logging.getLogger(__name__)

# A household has as many addresses of IPv6 as it likes, in one network of this size.
_IPV6_NETWORK = 64


def parse_rate(rate: str) -> list[Any]:
    """Return the limits that a text such as "10/second; 200/minute" stands for.

    Raises ValueError.
    """
    try:
        from limits import parse_many
    except ImportError as error:
        raise ValueError(
            "it needs the package limits: pip install 'flask-sse-hub[limits]'"
        ) from error
    return list(parse_many(rate))


class ClientAddresses:
    """Those who come to one process of an app, by address."""

    def __init__(self, rate: str | None) -> None:
        self._first_time = FirstTime()
        self._rare_log = RareLog(log)
        self._limits = [] if rate is None else parse_rate(rate)
        self._limiter: Any = None

    def of_request(self) -> str | None:
        """Return the address that this request came from, None if it has none.

        Of IPv6 it is the network that a single household has.
        """
        if _is_hidden_by_proxy() and self._first_time("proxy"):
            log.warning(
                "X-Forwarded-For arrives, and nothing reads it: to the app all clients"
                " of a proxy have the proxy's own address. If a proxy of yours sets it,"
                " wrap the app, app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1), with"
                " ProxyFix from werkzeug.middleware.proxy_fix. Otherwise ignore this:"
                " anybody can send it"
            )
        try:
            found = ipaddress.ip_address(_without_port(request.remote_addr or ""))
        except ValueError:
            # A Unix socket has none.
            return None
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                return str(found.ipv4_mapped)
            return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
        return str(found)

    def may_come(self, address: str | None) -> bool:
        """Tell whether a stream may be opened from an address now, and count it."""
        if address is None or not self._limits:
            return True
        try:
            return self._hit(address)
        except RuntimeError as error:
            # It starts thread after thread, and there may be no room for one. A 500
            # would end an EventSource for good.
            self._rare_log.say("failed", f"cannot count who opens streams: {error}")
            return False

    def _hit(self, address: str) -> bool:
        if self._limiter is None:
            # Here and not before: it starts a thread, in whatever process makes it.
            from limits.storage import MemoryStorage
            from limits.strategies import FixedWindowRateLimiter

            self._limiter = FixedWindowRateLimiter(MemoryStorage())
        return all(self._limiter.hit(limit, address) for limit in self._limits)


def _without_port(address: str) -> str:
    """Some proxies forward 192.0.2.7:4711 or [2001:db8::7]:4711."""
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", address)
    if bracketed:
        return bracketed[1]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_hidden_by_proxy() -> bool:
    return (
        "X-Forwarded-For" in request.headers
        and "werkzeug.proxy_fix.orig" not in request.environ
    )
