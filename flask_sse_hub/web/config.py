"""The configuration: every key, its default, its check and its documentation.

Read once, in ``init_app``. Nothing reads these keys from ``app.config`` later. Does not
know the objects that use the values.
"""

import difflib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..brokers import check_name, check_url, is_redis
from ..errors import ConfigurationError
from ..events.compose import MAX_EVENT_BYTES
from ..events.event import LARGEST_BYTES
from ..events.record import Retention
from ..events.seconds import checked_seconds
from ..hub.options import HubOptions
from .client_address import parse_rate
from .tokens import PublishToken, matches, read_patterns, read_tokens

log = logging.getLogger(__name__)

PREFIX = "SSE_HUB_"

# Keys from before the first release, and their present names.
_RENAMED = {
    f"{PREFIX}USER_LIMIT": f"{PREFIX}ON_USER_LIMIT",
    f"{PREFIX}HIJACK": f"{PREFIX}SOCKET_TAKEOVER",
}

#: The access to the statistics: a bearer token, or a callable without arguments that is
#: called in the request.
StatsAccess = str | Callable[[], bool] | None

# Origins as browsers write them: https://app.example:8443, http://[::1],
# capacitor://localhost.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")

_Check = Callable[[Any], Any]

# The hub's options have their defaults themselves: a setting must not have another.
_DEFAULTS = HubOptions()

# The largest number, in seconds, bytes or events. It is as good as no limit, and every
# broker stores it exactly.
_MOST = 10**12


def _key(default: Any, check: _Check, doc: str) -> Any:
    return field(default=default, metadata={"check": check, "doc": doc})


def _seconds(value: Any) -> float:
    return checked_seconds(value, what="it", above=0.0, most=_MOST)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is needed")
    if not 1 <= value <= _MOST:
        raise ValueError(f"it must be at least 1, and at most {_MOST}")
    return value


def _count_or_none(value: Any) -> int | None:
    return None if value is None else _count(value)


def _event_bytes(value: Any) -> int:
    if _count(value) > LARGEST_BYTES:
        raise ValueError(
            f"it must be at most {LARGEST_BYTES}. For larger data publish an address to"
            " load it from"
        )
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False is needed; in the environment true or false")
    return value


def _auto_or_off(value: Any) -> str | bool:
    if value is not False and value != "auto":
        raise ValueError("'auto' or False is needed; in the environment auto or false")
    return "auto" if value else False


def _range(value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("two numbers of seconds are needed, such as (2.0, 5.0)")
    least, most = map(_seconds, value)
    if least > most:
        raise ValueError("the first number must not be above the second")
    return least, most


def _broker_url(value: Any) -> str:
    url = _text(value)
    check_url(url)
    return url


def _url_prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(/[^\s/<>]+)+", value):
        raise ValueError(
            "a path such as /events is needed: it begins with /, does not end with it,"
            " and has neither spaces nor variable parts"
        )
    return value


def _one_of(*allowed: str) -> _Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError("it must be " + " or ".join(map(repr, allowed)))
        return str(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a string that is not empty is needed")
    return value


def _log_name(value: Any) -> str | None:
    if value is None:
        return None
    # from_prefixed_env() turns a name of digits into a number.
    name = str(value) if isinstance(value, int) else value
    check_name(name)
    return str(name)


def _stats_access(value: Any) -> StatsAccess:
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or len(value) < 16:
        raise ValueError("a callable or a token of at least 16 characters is needed")
    return value


def _origins(value: Any) -> tuple[str, ...]:
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


def _rate(value: Any) -> str | None:
    if value is None:
        return None
    parse_rate(_text(value))
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one app. The key of each is ``SSE_HUB_`` and its name."""

    broker_url: str = _key(
        "sqlite:///sse_hub.db",
        _broker_url,
        "The URL of the broker, which stores the log. ``sqlite:///sse_hub.db`` is a"
        " file in the instance folder, shared by all processes of one machine; give"
        " each app its own file. ``redis://``, ``rediss://``, ``unix://`` and"
        " ``redis+sentinel://`` are a Redis, shared by many machines. ``memory://`` is"
        " the memory of one process, for a single worker and for tests.",
    )
    name: str | None = _key(
        None,
        _log_name,
        "The name of the log in a Redis, required there: several apps may share one"
        " Redis, and each needs its own name. With an SQLite file or ``memory://`` you"
        " can leave it at None, which stands for the app's name.",
    )
    url_prefix: str = _key(
        "/events", _url_prefix, "The URL path at which the blueprint is mounted."
    )
    login_required: bool = _key(
        True,
        _flag,
        "Whether only users who are logged in through Flask-Login may open a stream."
        " With False, anonymous visitors may too.",
    )
    public_channels: tuple[str, ...] = _key(
        (),
        read_patterns,
        "Glob patterns of the public channels, such as ``orders.*``. Every visitor who"
        " may open a stream may listen to them. All other channels are closed unless"
        " your ``authorize_channel`` rule opens them.",
    )
    heartbeat_interval: float = _key(
        _DEFAULTS.heartbeat_interval,
        _seconds,
        "The longest silence on a stream, in seconds. If no event is due, the client"
        " receives a ``ping`` event in time.",
    )
    connection_timeout: float = _key(
        _DEFAULTS.connection_timeout,
        _seconds,
        "The number of seconds after which a stream ends if its client accepts no"
        " data.",
    )
    retry: tuple[float, float] = _key(
        _DEFAULTS.retry,
        _range,
        "The range of reconnect delays, in seconds. Each client is given a random delay"
        " from it, so that clients do not all reconnect at once.",
    )
    max_age: float = _key(
        _DEFAULTS.max_age,
        _seconds,
        "The longest life of a stream, in seconds. Each stream ends at a random age of"
        " 80 to 100 % of this limit; its client reconnects and resumes.",
    )
    history_events: int = _key(
        _DEFAULTS.memory.events,
        _count,
        "How many events the broker keeps for replay. The oldest events are deleted"
        " when this limit, ``SSE_HUB_HISTORY_SECONDS`` or ``SSE_HUB_HISTORY_BYTES`` is"
        " exceeded.",
    )
    history_seconds: float = _key(
        _DEFAULTS.memory.seconds,
        _seconds,
        "For how many seconds the broker keeps an event for replay.",
    )
    history_bytes: int = _key(
        67_108_864,
        _count,
        "How many bytes of events the broker keeps for replay; at least twice"
        " ``SSE_HUB_MAX_EVENT_BYTES``.",
    )
    memory_history_bytes: int = _key(
        _DEFAULTS.memory.bytes,
        _count,
        "How many bytes of the newest history each worker keeps in its memory; at least"
        " twice ``SSE_HUB_MAX_EVENT_BYTES``. Older events are read from the broker.",
    )
    max_event_bytes: int = _key(
        MAX_EVENT_BYTES,
        _event_bytes,
        "The most bytes that the data of one event may have. Publishing more raises"
        " ``EventTooLarge``.",
    )
    max_clients: int = _key(
        _DEFAULTS.max_clients,
        _count,
        "The most streams that one worker holds. Further clients are refused and told"
        " to come back later.",
    )
    max_clients_per_user: int | None = _key(
        _DEFAULTS.max_clients_per_user,
        _count_or_none,
        "The most streams that one user may have open on one worker. None means no"
        " limit.",
    )
    max_clients_per_ip: int | None = _key(
        _DEFAULTS.max_clients_per_ip,
        _count_or_none,
        "The most streams that one network address may have open on one worker. None"
        " means no limit. Behind a proxy without ``ProxyFix`` all clients share one"
        " address.",
    )
    connect_rate: str | None = _key(
        None,
        _rate,
        "How often one network address may open a stream on one worker, such as"
        " ``10/second; 200/minute``. None means no limit. A rate needs the package"
        " ``limits``: ``pip install 'flask-sse-hub[limits]'``.",
    )
    on_user_limit: str = _key(
        "evict_oldest",
        _one_of("evict_oldest", "refuse"),
        "The reaction when a user exceeds ``SSE_HUB_MAX_CLIENTS_PER_USER``:"
        " ``evict_oldest`` ends the user's oldest stream; ``refuse`` refuses the new"
        " stream and tells its client to come back later.",
    )
    max_channels: int = _key(32, _count, "The most channels that one stream may have.")
    socket_takeover: str | bool = _key(
        "auto",
        _auto_or_off,
        "Whether the hub takes the sockets of streams over from gunicorn's gevent"
        " worker, which saves memory and CPU. ``auto`` does so wherever it is possible."
        " With False a generator delivers every stream.",
    )
    compress_min_bytes: int | None = _key(
        _DEFAULTS.compress_min_bytes,
        _count_or_none,
        "The size in bytes from which an event is compressed, once for all clients that"
        " accept gzip or zstd. None turns compression off. zstd needs Python 3.14 or"
        " ``pip install 'flask-sse-hub[zstd]'``.",
    )
    revalidate_interval: float = _key(
        300.0,
        _seconds,
        "The interval, in seconds, within which each open stream is checked again: the"
        " user is loaded again, and your channel rule is applied again. The stream ends"
        " if the user is deleted or locked, or if the rule closes one of the channels.",
    )
    cors_origins: tuple[str, ...] = _key(
        (),
        _origins,
        "The origins of other sites whose pages may use the endpoints with the"
        " visitor's cookies. Write each exactly as browsers send it, such as"
        " ``https://app.example``; ``*`` is not allowed.",
    )
    publish_tokens: tuple[PublishToken, ...] = _key(
        (),
        read_tokens,
        "The bearer tokens for publishing over HTTP. Without any, the publish endpoint"
        " does not exist. A token is a string of at least 16 characters. Prefer its"
        " hash, ``sha256:`` and 64 hex digits, which ``flask sse token`` prints. To"
        ' limit a token, write ``{"token": ..., "channels": [patterns], "targets":'
        ' [kinds], "name": ...}``. The kinds are ``channel``, ``user``, ``session``,'
        " ``client`` and ``everyone``. With ``channels`` the token may publish only to"
        " matching channels, and to the other kinds in ``targets``. With ``targets``"
        " alone it may publish to these kinds. The ``name`` appears in log lines.",
    )
    stats_access: StatsAccess = _key(
        None,
        _stats_access,
        "The access to the statistics endpoint. Set a token of at least 16 characters,"
        " which programs send as ``Authorization: Bearer``, or a callable without"
        " arguments that is called in the request and returns True or False. With None"
        " the endpoint refuses every request.",
    )

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Config":
        """Read and check an app's keys; unknown ones are logged.

        Raises ConfigurationError for an invalid value.
        """
        known = {PREFIX + part.name.upper(): part for part in fields(cls)}
        for key in settings:
            if key.startswith(PREFIX) and key not in known:
                log.warning("the setting %s is unknown%s", key, _hint(key, known))
        config = cls(
            **{
                part.name: _checked(key, part, settings[key])
                for key, part in known.items()
                if key in settings
            }
        )
        config._check_together()
        return config

    def _check_together(self) -> None:
        if is_redis(self.broker_url) and self.name is None:
            raise ConfigurationError(
                f"{PREFIX}NAME must be set with a Redis, which several apps may share:"
                " choose a name that every process of this app has, and no other app"
            )
        for name in ("history_bytes", "memory_history_bytes"):
            if getattr(self, name) < 2 * self.max_event_bytes:
                raise ConfigurationError(
                    f"{PREFIX}{name.upper()} ({getattr(self, name)}) is too small for"
                    f" two of the largest events: set it to at least twice"
                    f" {PREFIX}MAX_EVENT_BYTES ({self.max_event_bytes})"
                )

    @property
    def retention(self) -> Retention:
        """The bounds of the history that the broker keeps."""
        return Retention(self.history_events, self.history_seconds, self.history_bytes)

    @property
    def hub(self) -> HubOptions:
        """The options of the hub."""
        return HubOptions(
            heartbeat_interval=self.heartbeat_interval,
            connection_timeout=self.connection_timeout,
            retry=self.retry,
            max_age=self.max_age,
            max_clients=self.max_clients,
            max_clients_per_user=self.max_clients_per_user,
            max_clients_per_ip=self.max_clients_per_ip,
            evict_oldest=self.on_user_limit == "evict_oldest",
            compress_min_bytes=self.compress_min_bytes,
            memory=Retention(
                self.history_events, self.history_seconds, self.memory_history_bytes
            ),
        )

    def is_public(self, channel: str) -> bool:
        """Tell whether every visitor who may open a stream may listen to a channel."""
        return matches(channel, self.public_channels)


def _checked(key: str, part: "Field[Any]", value: Any) -> Any:
    try:
        return part.metadata["check"](value)
    except ValueError as error:
        # The error ends up in a log, where no token or password belongs.
        secret = re.search("TOKEN|ACCESS|URL$", key) is not None
        shown = "" if secret else f" ({value!r})"
        raise ConfigurationError(f"{key}{shown} is invalid: {error}") from error


def _hint(key: str, known: Mapping[str, object]) -> str:
    if key in _RENAMED:
        return f"; it is now called {_RENAMED[key]}"
    # Compare without the prefix, which would make any two keys look alike.
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""
