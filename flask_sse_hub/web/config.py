"""The configuration: every key, its default, its check and its documentation.

Read once, in ``init_app``; nothing looks at ``app.config`` for these keys later.
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

# Keys of versions before the first release.
_RENAMED = {
    f"{PREFIX}USER_LIMIT": f"{PREFIX}ON_USER_LIMIT",
    f"{PREFIX}HIJACK": f"{PREFIX}SOCKET_TAKEOVER",
}

#: Decides who may see the statistics: a bearer token, or a callable without arguments
#: that is called in the request.
StatsAccess = str | Callable[[], bool] | None

# As browsers write it: https://app.example:8443, http://[::1], capacitor://localhost.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")

_Check = Callable[[Any], Any]

# As good as without a limit, in seconds and in bytes, and exact in every broker.
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
            f"it must be at most {LARGEST_BYTES}: publish an address to load more from"
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
        raise ValueError("two numbers of seconds are needed, the least and the most")
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
    # The environment makes a number of digits.
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
                f"{origin!r} is no origin as browsers send it, such as"
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
    """The settings of one app; each field is the key ``SSE_HUB_`` and its name."""

    broker_url: str = _key(
        "sqlite:///sse_hub.db",
        _broker_url,
        "Where the log is. ``sqlite:///sse_hub.db``: in a file below the instance"
        " folder, for all processes of this machine; one file is one log, and apps that"
        " shall not hear each other need one each. ``redis://``, ``rediss://``,"
        " ``unix://``, ``redis+sentinel://``: in a Redis, for many machines."
        " ``memory://``: in this process, for one worker and tests.",
    )
    name: str | None = _key(
        None,
        _log_name,
        "Names the log in a Redis, which several apps may share: there it must be set."
        " None: the app's name. A file is one log, whatever its name.",
    )
    url_prefix: str = _key("/events", _url_prefix, "Where the blueprint is mounted.")
    login_required: bool = _key(
        True,
        _flag,
        "Whether a stream is only for people who are logged in through Flask-Login.",
    )
    public_channels: tuple[str, ...] = _key(
        (),
        read_patterns,
        "Glob patterns of channels that anybody admitted may ask for.",
    )
    heartbeat_interval: float = _key(
        30.0, _seconds, "No stream is silent for longer than this many seconds."
    )
    connection_timeout: float = _key(
        60.0, _seconds, "A client that takes no byte for so many seconds is closed."
    )
    retry: tuple[float, float] = _key(
        (2.0, 5.0),
        _range,
        "The range, in seconds, from which each client's reconnect delay is drawn.",
    )
    max_age: float = _key(
        3600.0,
        _seconds,
        "A stream ends after 80 to 100 % of so many seconds; its client resumes.",
    )
    history_events: int = _key(10_000, _count, "So many events the broker retains.")
    history_seconds: float = _key(
        3600.0, _seconds, "For so many seconds the broker retains an event."
    )
    history_bytes: int = _key(
        67_108_864, _count, "So many bytes of events the broker retains."
    )
    memory_history_bytes: int = _key(
        16_777_216, _count, "So many bytes of that each worker keeps in memory."
    )
    max_event_bytes: int = _key(
        MAX_EVENT_BYTES, _event_bytes, "The most bytes that one event's data may have."
    )
    max_clients: int = _key(10_000, _count, "The most streams that one worker holds.")
    max_clients_per_user: int | None = _key(
        20, _count_or_none, "The most streams of one user per worker; None: no limit."
    )
    max_clients_per_ip: int | None = _key(
        None,
        _count_or_none,
        "The most streams from one network address per worker; None: no limit, since"
        " behind a proxy everybody may have one address.",
    )
    connect_rate: str | None = _key(
        None,
        _rate,
        "How often one network address may open a stream on a worker, as the package"
        " ``limits`` (``pip install 'flask-sse-hub[limits]'``) writes it:"
        " ``10/second; 200/minute``. None: as often as it likes.",
    )
    on_user_limit: str = _key(
        "evict_oldest",
        _one_of("evict_oldest", "refuse"),
        "What happens beyond it: with evict_oldest the user's oldest stream ends, with"
        " refuse the new one is told to come back.",
    )
    max_channels: int = _key(32, _count, "The most channels that one client may name.")
    socket_takeover: str | bool = _key(
        "auto",
        _auto_or_off,
        "With ``auto``, the streams' sockets are taken over from gunicorn's gevent"
        " worker wherever that is possible; with False a generator delivers them.",
    )
    compress_min_bytes: int | None = _key(
        512,
        _count_or_none,
        "Events of at least so many bytes are compressed, once for all clients that"
        " accept gzip, or zstd where Python has it: from 3.14 on, or by"
        " ``pip install 'flask-sse-hub[zstd]'``. None: never.",
    )
    revalidate_interval: float = _key(
        300.0,
        _seconds,
        "Within so many seconds the user of each open stream is loaded again, and asked"
        " again whether its channels are still open to them.",
    )
    cors_origins: tuple[str, ...] = _key(
        (),
        _origins,
        "Origins of other sites whose pages may use the endpoints, with the visitor's"
        " cookies: ``https://app.example``, each exactly as browsers send it.",
    )
    publish_tokens: tuple[PublishToken, ...] = _key(
        (),
        read_tokens,
        "Who may publish over HTTP: a list of tokens, each a string of at least 16"
        " characters, or better its hash, ``sha256:`` and 64 hex digits, as ``flask sse"
        ' token`` prints it. An entry ``{"token": ..., "channels": [patterns],'
        ' "targets": [kinds], "name": ...}`` limits one: with ``channels`` to'
        " channels that match, and to other kinds only if ``targets`` names them; with"
        " ``targets`` alone to these kinds, of ``channel``, ``user``, ``session``,"
        " ``client`` and ``everyone``. The name is for the log."
        " Empty: nobody.",
    )
    stats_access: StatsAccess = _key(
        None,
        _stats_access,
        "Who may see the statistics: a token of at least 16 characters, to be sent as"
        " ``Authorization: Bearer``, or a callable that is called in the request. None:"
        " nobody.",
    )

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Config":
        """Read and check the keys of an app. Raises ConfigurationError."""
        known = {PREFIX + part.name.upper(): part for part in fields(cls)}
        for key in settings:
            if key.startswith(PREFIX) and key not in known:
                log.warning("the setting %s is not known%s", key, _hint(key, known))
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
                f"{PREFIX}NAME must be set with a Redis: it names this app's log there,"
                " the same in every process, and no other app's"
            )
        for name in ("history_bytes", "memory_history_bytes"):
            if getattr(self, name) < 2 * self.max_event_bytes:
                raise ConfigurationError(
                    f"{PREFIX}{name.upper()} ({getattr(self, name)}) must hold at least"
                    f" two of the largest events; {PREFIX}MAX_EVENT_BYTES is"
                    f" {self.max_event_bytes}"
                )

    @property
    def retention(self) -> Retention:
        """What the broker keeps."""
        return Retention(self.history_events, self.history_seconds, self.history_bytes)

    @property
    def hub(self) -> HubOptions:
        """What the hub is told."""
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
        """Tell whether anybody admitted may ask for a channel."""
        return matches(channel, self.public_channels)


def _checked(key: str, part: "Field[Any]", value: Any) -> Any:
    try:
        return part.metadata["check"](value)
    except ValueError as error:
        # Tokens, and URLs with a password, do not belong in a log.
        secret = re.search("TOKEN|ACCESS|URL$", key) is not None
        shown = "" if secret else f" ({value!r})"
        raise ConfigurationError(f"{key}{shown} cannot be used: {error}") from error


def _hint(key: str, known: Mapping[str, object]) -> str:
    if key in _RENAMED:
        return f"; it is {_RENAMED[key]} now"
    # Without the prefix, which alone makes any two keys look alike.
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""
