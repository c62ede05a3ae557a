"""The configuration: every key, its default, its check and its documentation.

Read once, in ``init_app``. Nothing reads these keys from ``app.config`` later. Does not
know the objects that use the values.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..brokers.factory import masked_url
from ..errors import ConfigurationError
from ..events.channel_patterns import is_pattern, is_within, reaches
from ..events.compose import MAX_EVENT_BYTES
from ..events.patterns import ChannelHistories, DefaultTtls, matches
from ..events.record import Retention
from ..hub.options import HubOptions
from ..webhooks import StandardWebhooks
from . import checks
from .setting_names import PREFIX, warn_of_names
from .settings_together import check_together, tell_of_milliseconds
from .tokens import PublishToken, read_patterns, read_tokens

# The hub's options have their defaults themselves: a setting must not have another.
_DEFAULTS = HubOptions()


def _key(default: Any, check: checks.Check, doc: str, *, secret: bool = False) -> Any:
    metadata = {"check": check, "doc": doc, "secret": secret}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """The settings of one app. The key of each is ``SSE_HUB_`` and its name."""

    broker_url: str = _key(
        "sqlite:///sse_hub.db",
        checks.broker_url,
        "The URL of the broker, which stores the log. ``sqlite:///sse_hub.db`` is a"
        " file in the instance folder, shared by all processes of one machine; give"
        " each app its own file. ``redis://``, ``rediss://``, ``unix://`` and"
        " ``redis+sentinel://`` are a Redis, shared by many machines. ``memory://`` is"
        " the memory of one process, for a single worker and for tests.",
        secret=True,
    )
    name: str | None = _key(
        None,
        checks.log_name,
        "The name of the log in a Redis, required there: several apps may share one"
        " Redis, and each needs its own name. With an SQLite file or ``memory://`` you"
        " can leave it at None, which stands for the app's name.",
    )
    url_prefix: str = _key(
        "/events", checks.url_prefix, "The URL path at which the blueprint is mounted."
    )
    host: str | None = _key(
        None,
        checks.host,
        "The host of the blueprint in an app with ``host_matching=True``, as clients"
        " send it, with its port unless that is the usual one: ``app.example`` or"
        " ``localhost:8000``. With None the blueprint is on every host.",
    )
    subdomain: str | None = _key(
        None,
        checks.subdomain,
        "The subdomain of the blueprint in an app with ``subdomain_matching=True``,"
        " such as ``www``; an empty string is ``SERVER_NAME`` itself. With None the"
        " blueprint is on ``SERVER_NAME`` and every subdomain.",
    )
    login_required: bool = _key(
        True,
        checks.flag,
        "Whether only users who are logged in through Flask-Login may open a stream."
        " With False, anonymous visitors may too.",
    )
    resume_before_login: bool = _key(
        False,
        checks.flag,
        "Whether a client may resume from an id that is older than its login. With"
        " False it receives a ``reset`` if that would bring it an event from before the"
        " login, with a minute of tolerance.",
    )
    public_channels: tuple[str, ...] = _key(
        (),
        read_patterns,
        "Glob patterns of the public channels, such as ``orders.*``, which matches"
        " ``orders.x.y`` too. Every visitor who may open a stream may listen to them,"
        " and to a pattern of channels that one of them covers. All other channels are"
        " closed unless your ``authorize_channel`` rule opens them.",
    )
    heartbeat_interval: float = _key(
        _DEFAULTS.heartbeat_interval,
        checks.seconds,
        "The longest silence on a stream, in seconds. If no event is due, the client"
        " receives a ``ping`` event in time.",
    )
    connection_timeout: float = _key(
        _DEFAULTS.connection_timeout,
        checks.seconds,
        "The number of seconds after which a stream ends if its client accepts no"
        " data.",
    )
    retry: tuple[float, float] = _key(
        _DEFAULTS.retry,
        checks.delay_range,
        "The range of reconnect delays, in seconds, up to 3600. Each client is given a"
        " random delay from it, so that clients do not all reconnect at once.",
    )
    max_age: float = _key(
        _DEFAULTS.max_age,
        checks.seconds,
        "The longest life of a stream, in seconds. Each stream ends at a random age of"
        " 80 to 100 % of this limit; its client reconnects and resumes.",
    )
    history_events: int = _key(
        _DEFAULTS.memory.events,
        checks.count,
        "How many events the broker keeps for replay. The oldest events are deleted"
        " when this limit, ``SSE_HUB_HISTORY_SECONDS`` or ``SSE_HUB_HISTORY_BYTES`` is"
        " exceeded.",
    )
    history_seconds: float = _key(
        _DEFAULTS.memory.seconds,
        checks.seconds,
        "For how many seconds the broker keeps an event for replay.",
    )
    history_bytes: int = _key(
        67_108_864,
        checks.count,
        "How many bytes of events the broker keeps for replay; at least twice"
        " ``SSE_HUB_MAX_EVENT_BYTES``.",
    )
    history: ChannelHistories = _key(
        ChannelHistories(),
        ChannelHistories.of,
        "How much history some channels keep, by glob patterns of their names, as in"
        ' ``{"chat.*": {"events": 1000, "seconds": 86400}}``. Each channel keeps its'
        " newest events, and they push out no others. An event that is younger than"
        " five seconds stays in any case. The bounds of the first pattern that matches"
        " apply, and only to events without a ttl that are published to one channel"
        " alone.",
    )
    ttl: DefaultTtls = _key(
        DefaultTtls(),
        DefaultTtls.of,
        "For how many seconds the events of some channels are of use, by glob patterns"
        ' of the channels, as in ``{"typing.*": 5}``. Afterwards no client receives'
        " them. An event has the longest time of its channels, and is kept if one of"
        " its targets matches no pattern. ``publish(ttl=...)`` comes first.",
    )
    state_keys: int = _key(
        _DEFAULTS.memory.state_keys,
        checks.count,
        "How many keys the state may have: one for each target of each ``key`` that was"
        " published. Publishing a further one raises ``StateFull``.",
    )
    state_bytes: int = _key(
        _DEFAULTS.memory.state_bytes,
        checks.count,
        "How many bytes the state of all keys may have, in the broker and in the memory"
        " of each worker. Publishing more raises ``StateFull``.",
    )
    memory_history_bytes: int = _key(
        _DEFAULTS.memory.bytes,
        checks.count,
        "How many bytes of the newest history each worker keeps in its memory; at least"
        " twice ``SSE_HUB_MAX_EVENT_BYTES``. Older events are read from the broker.",
    )
    max_event_bytes: int = _key(
        MAX_EVENT_BYTES,
        checks.event_bytes,
        "The most bytes that the data of one event may have. Publishing more raises"
        " ``EventTooLarge``.",
    )
    max_clients: int = _key(
        _DEFAULTS.max_clients,
        checks.count,
        "The most streams that one worker holds. Further clients are refused and told"
        " to come back later.",
    )
    max_clients_per_user: int | None = _key(
        _DEFAULTS.max_clients_per_user,
        checks.count_or_none,
        "The most streams that one user may have open on one worker. None means no"
        " limit.",
    )
    max_clients_per_ip: int | None = _key(
        _DEFAULTS.max_clients_per_ip,
        checks.count_or_none,
        "The most streams that one network address may have open on one worker. None"
        " means no limit. Behind a proxy without ``ProxyFix`` all clients share one"
        " address, and over a Unix socket they have none and are not limited.",
    )
    connect_rate: str | None = _key(
        None,
        checks.rate,
        "How often one network address may open a stream on one worker, such as"
        " ``10/second; 200/minute``. None means no limit. A rate needs the package"
        " ``limits``: ``pip install 'flask-sse-hub[limits]'``.",
    )
    on_user_limit: str = _key(
        "evict_oldest",
        checks.one_of("evict_oldest", "refuse"),
        "The reaction when a user exceeds ``SSE_HUB_MAX_CLIENTS_PER_USER``:"
        " ``evict_oldest`` ends the user's oldest stream; ``refuse`` refuses the new"
        " stream and tells its client to come back later.",
    )
    max_channels: int = _key(
        _DEFAULTS.max_channels,
        checks.count,
        "The most channels and patterns that one stream may have.",
    )
    socket_takeover: str | bool = _key(
        "auto",
        checks.auto_or_off,
        "Whether the hub takes the sockets of streams over from gunicorn's gevent"
        " worker, which saves memory and CPU. ``auto`` does so wherever it is possible."
        " With False a generator delivers every stream.",
    )
    compress_min_bytes: int | None = _key(
        _DEFAULTS.compress_min_bytes,
        checks.count_or_none,
        "The size in bytes from which an event is compressed, once for all clients that"
        " accept gzip or zstd. None turns compression off."
        " zstd needs Python 3.14 or ``pip install 'flask-sse-hub[zstd]'``.",
    )
    revalidate_interval: float = _key(
        300.0,
        checks.seconds,
        "The interval, in seconds, within which each open stream is checked again: the"
        " user is loaded again, and your channel rule is applied again. The stream ends"
        " if the user is deleted or locked, or if the rule closes one of the channels.",
    )
    answers_per_user: int | None = _key(
        10,
        checks.count_or_none,
        "The most answers of one user, or of one anonymous session, that may run at a"
        " time, on all workers together. None means no limit.",
    )
    answers_per_worker: int = _key(
        1000, checks.count, "The most answers that one worker may run at a time."
    )
    answers_bytes: int = _key(
        1_048_576,
        checks.event_bytes,
        "The most bytes that one answer may have. An answer that becomes larger ends.",
    )
    cors_origins: tuple[str, ...] = _key(
        (),
        checks.origins,
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
        ' [kinds], "types": [patterns], "rate": "100/minute", "share": 0.1, "name":'
        " ...}``. The kinds are ``channel``, ``user``, ``session``, ``client`` and"
        " ``everyone``. With ``channels`` the token may publish only to matching"
        " channels, and to the other kinds in ``targets``. With ``targets`` alone it"
        " may publish to these kinds. With ``types`` it may publish only matching types"
        " of events. In patterns ``*`` matches any text, also dots. The ``rate`` counts"
        " events on one worker. With a ``share`` one worker takes from the token at"
        " most this part of ``SSE_HUB_HISTORY_EVENTS`` and ``SSE_HUB_HISTORY_BYTES``"
        " within ``SSE_HUB_HISTORY_SECONDS``. Both need the package ``limits``. The"
        " ``name`` appears in log lines.",
        secret=True,
    )
    stats_access: checks.StatsAccess = _key(
        None,
        checks.stats_access,
        "The access to the statistics, the metrics and the console. Set a token of at"
        " least 16 characters, which programs send as ``Authorization: Bearer``, or a"
        " callable without arguments that is called in the request and returns True or"
        " False. A browser sends no token, so the console needs a callable."
        " With None the endpoints refuse every request.",
        secret=True,
    )
    console_payloads: bool = _key(
        False,
        checks.flag,
        "Whether the console shows the beginning of each event's data. With False it"
        " shows the data's size. With True everybody who may read the statistics reads"
        " the events of all users.",
    )
    presence: tuple[str, ...] = _key(
        (),
        read_patterns,
        "Glob patterns of the channels with presence, such as ``room.*``. Their clients"
        " receive ``presence`` events, and ``present(channel)`` tells who is there.",
    )
    presence_grace: float = _key(
        _DEFAULTS.presence_grace,
        checks.seconds,
        "For how many seconds a person without a stream stays present. Pages that"
        " reload, short cuts of the network and restarts of workers are shorter, so"
        " they cause no event.",
    )
    presence_people: int = _key(
        _DEFAULTS.presence_people,
        checks.count,
        "The most people who are listed in one channel. Further ones receive events,"
        " and are not seen by others. Each person takes two keys and about 500 bytes of"
        " the state (``SSE_HUB_STATE_KEYS``, ``SSE_HUB_STATE_BYTES``).",
    )
    presence_hooks: tuple[str, ...] = _key(
        (),
        checks.hook_urls,
        "The URLs that are told when users come and leave, such as"
        " ``https://app.example/hooks``. Each signed delivery is tried for a day.",
    )
    presence_hook_secrets: StandardWebhooks | None = _key(
        None,
        checks.hook_secrets,
        "The secret that signs these deliveries: ``whsec_`` and at least 24 bytes in"
        " base64. A list has several, while one replaces the other.",
        secret=True,
    )
    metrics_channels: tuple[str, ...] = _key(
        (),
        read_patterns,
        "Glob patterns of channels whose open streams the metrics count, such as"
        " ``orders.*``. Each pattern is one series for each worker; a channel counts at"
        " the first pattern that matches it. A stream of ``orders.*`` counts as such.",
    )

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Config":
        """Read and check an app's keys; unknown ones are logged.

        Raises ConfigurationError for an invalid value.
        """
        known = {PREFIX + part.name.upper(): part for part in fields(cls)}
        warn_of_names(settings, known)
        config = cls(
            **{
                part.name: _checked(key, part, settings[key])
                for key, part in known.items()
                if key in settings
            }
        )
        check_together(config)
        tell_of_milliseconds(config)
        return config

    def __repr__(self) -> str:
        """Return the settings as text, with passwords and tokens masked.

        Error trackers and debuggers show the text of a frame's variables.
        """
        shown = ", ".join(f"{part.name}={self._shown(part)}" for part in fields(self))
        return f"Config({shown})"

    def _shown(self, part: "Field[Any]") -> str:
        value = getattr(self, part.name)
        if part.name == "broker_url":
            return repr(masked_url(value))
        if part.metadata["secret"] and isinstance(value, str):
            return "'***'"
        return repr(value)

    @property
    def retention(self) -> Retention:
        """The bounds of the history that the broker keeps."""
        return Retention(
            self.history_events,
            self.history_seconds,
            self.history_bytes,
            state_keys=self.state_keys,
            state_bytes=self.state_bytes,
        )

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
            max_channels=self.max_channels,
            compress_min_bytes=self.compress_min_bytes,
            presence=bool(self.presence),
            presence_grace=self.presence_grace,
            presence_people=self.presence_people,
            memory=Retention(
                self.history_events, self.history_seconds, self.memory_history_bytes
            ),
        )

    def is_public(self, channel: str) -> bool:
        """Tell whether a channel or a pattern is open to all visitors with a stream."""
        return is_within(channel, self.public_channels)

    def has_presence(self, channel: str) -> bool:
        """Tell whether a channel has presence. A pattern has none."""
        return not is_pattern(channel) and matches(channel, self.presence)

    def reaches_presence(self, subscription: str) -> bool:
        """Tell whether a channel, or one that a pattern covers, has presence."""
        return reaches(subscription, self.presence)


def _checked(key: str, part: "Field[Any]", value: Any) -> Any:
    try:
        return part.metadata["check"](value)
    except ValueError as error:
        # The error ends up in a log, where no token or password belongs.
        shown = "" if part.metadata["secret"] else f" ({value!r})"
        raise ConfigurationError(f"{key}{shown} is invalid: {error}") from error
