"""Network addresses of clients, and how often each address may open a stream.

Takes the address from Flask's request: behind a proxy, Werkzeug's ProxyFix has to set
it there.
"""

import ipaddress
import re

from flask import request

from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import FirstTime
from .rates import Rates, parse_rate

log = CodedLog(__name__)

# The prefix length of the IPv6 network that one household has. It can use any address
# of that network, so limits count the network.
_IPV6_NETWORK = 64


class ClientAddresses:
    """The network addresses that open streams in one process of an app.

    ``most`` is the number of streams that one address may have open.
    """

    def __init__(self, rate: str | None, *, most: int | None = None) -> None:
        # The settings that cannot work for a request without an address.
        self._settings = " and ".join(
            ["SSE_HUB_CONNECT_RATE"] * (rate is not None)
            + ["SSE_HUB_MAX_CLIENTS_PER_IP"] * (most is not None)
        )
        self._first_time = FirstTime()
        self._limits = [] if rate is None else parse_rate(rate)
        self._rates = Rates("SSE_HUB_CONNECT_RATE")

    def for_limits(self) -> str | None:
        """Return the address that the limits count, None if there is nothing to count.

        Finding it takes a tenth of the time of a connect.
        """
        if _is_hidden_by_proxy() and self._first_time("proxy"):
            log.warning(
                "SSE-1007",
                "a request has X-Forwarded-For, and nothing reads it: for the app, all"
                " clients behind a proxy have the proxy's address. If your proxy sets"
                " the header, use `app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)` from"
                " werkzeug.middleware.proxy_fix. Otherwise ignore this warning: anybody"
                " can send the header",
            )
        return self.of_request() if self._settings else None

    def of_request(self) -> str | None:
        """Return the address that this request came from, None if it has none.

        For IPv6 this is the /64 network, which belongs to one household.
        """
        try:
            found = ipaddress.ip_address(_without_port(request.remote_addr or ""))
        except ValueError:
            # A connection over a Unix socket has no address.
            self._warn_of_no_limit()
            return None
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                return str(found.ipv4_mapped)
            return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
        return str(found)

    def _warn_of_no_limit(self) -> None:
        if self._first_time("no limit"):
            log.warning(
                "SSE-1008",
                "%s cannot limit a request without a network address, such as one over"
                " a Unix socket, and lets it in (its address is %r). Have the proxy set"
                " X-Forwarded-For, and use `app.wsgi_app = ProxyFix(app.wsgi_app,"
                " x_for=1)` from werkzeug.middleware.proxy_fix; or bind the server to a"
                " TCP port",
                self._settings,
                (request.remote_addr or "")[:60],
            )

    def may_come(self, address: str | None) -> bool:
        """Count a stream from an address, and tell whether it may be opened now."""
        return address is None or self._rates.allow(address, self._limits)


def _without_port(address: str) -> str:
    """Return an address without its port.

    Some proxies forward 192.0.2.7:4711 or [2001:db8::7]:4711.
    """
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", address)
    if bracketed:
        return bracketed[1]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_hidden_by_proxy() -> bool:
    return (
        "HTTP_X_FORWARDED_FOR" in request.environ
        and "werkzeug.proxy_fix.orig" not in request.environ
    )
