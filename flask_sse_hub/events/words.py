"""Words of other packages for the arguments of ``publish()`` and its relatives.

For each keyword that people bring with them, the remedy as a sentence of an error's
text. Does not know the functions.
"""

_CHANNEL = "Use channel=."
_USER = "Use user=."
_SESSION = "Use session=."
_CLIENT = "Use client=."

#: The words for targets.
TARGETS = {
    "to": "Use user=, channel=, session= or client=.",
    "target": "Use user=, channel=, session= or client=.",
    **dict.fromkeys(
        ["room", "rooms", "topic", "topics", "channels", "channel_name", "group"],
        _CHANNEL,
    ),
    **dict.fromkeys(["users", "user_id", "user_ids", "uid", "recipient"], _USER),
    **dict.fromkeys(["sessions", "session_id"], _SESSION),
    **dict.fromkeys(["clients", "client_id", "sid"], _CLIENT),
}

_TYPE = "Use type=."
_EXCLUDE = "Use exclude_client=."
_ID = (
    "The log gives each event its id, which publish() returns. To publish once only,"
    " use idempotency_key=."
)
_DATA = "Pass the data first, without a keyword."
_EVERYBODY = "Leave out all targets: every connected client receives the event."

#: The words for all arguments of ``publish()``.
PUBLISH = {
    **TARGETS,
    **dict.fromkeys(["event", "event_type", "event_name", "name"], _TYPE),
    **dict.fromkeys(["exclude", "exclude_clients", "skip_sid"], _EXCLUDE),
    "include_self": "Use exclude_client=, with the sender's client id.",
    **dict.fromkeys(["id", "event_id"], _ID),
    **dict.fromkeys(["message", "msg", "payload", "json", "body", "text"], _DATA),
    **dict.fromkeys(["broadcast", "everyone"], _EVERYBODY),
    "namespace": "Use channel=: there are no namespaces.",
    **dict.fromkeys(
        ["on_commit", "after_commit", "commit", "db", "transaction", "db_session"],
        "Use after=, with the session: after=db.session.",
    ),
    **dict.fromkeys(
        ["expires", "expire", "expires_in", "lifetime", "max_age", "timeout"],
        "Use ttl=, in seconds.",
    ),
    **dict.fromkeys(
        ["ack", "acknowledge", "delivered"],
        "Use receipt=True, and later receipts(event_id).",
    ),
    "callback": "Leave it out: clients do not answer events. Have them send a request.",
}

#: The words for the arguments of ``Event``.
EVENT = {
    **dict.fromkeys(["event", "event_type", "event_name", "name"], _TYPE),
    **dict.fromkeys(
        ["id", "event_id"], "Leave it out: the stream gives each event an id."
    ),
}


def _setting(name: str) -> str:
    return f"Set SSE_HUB_{name} in app.config before."


#: The words for the arguments of ``SSEHub()`` and ``init_app()``, which take settings
#: from the app's configuration.
SETTINGS = {
    **dict.fromkeys(
        ["url", "redis_url", "broker_url", "broker", "message_queue"],
        _setting("BROKER_URL"),
    ),
    **dict.fromkeys(["url_prefix", "prefix", "path"], _setting("URL_PREFIX")),
    **dict.fromkeys(["cors_allowed_origins", "cors"], _setting("CORS_ORIGINS")),
    **dict.fromkeys(["ping_interval", "heartbeat"], _setting("HEARTBEAT_INTERVAL")),
    "ping_timeout": _setting("CONNECTION_TIMEOUT"),
    "retry": _setting("RETRY"),
    "async_mode": "Leave it out: the hub finds out which server it runs under.",
}

#: The words for the arguments of ``ticket()``.
TICKET = {
    **dict.fromkeys(["channel", "room", "rooms", "topic", "topics"], "Use channels=."),
    "user_id": _USER,
    **dict.fromkeys(
        ["ttl", "timeout", "max_age", "expires_in", "lifetime"],
        "Use expires=, in seconds.",
    ),
}

#: The words for the arguments of ``stream()`` and ``script()``.
CHANNELS = dict.fromkeys(
    ["channels", "channel", "room", "rooms", "topic", "topics"],
    "Pass the channels' names without a keyword.",
)

_PUBLISH = "use publish(data, type=..., user=..., channel=...)"
_STREAM = "the blueprint serves streams, or a view returns sse_hub.stream(*channels)"

#: The methods of other packages' objects, and their counterparts.
METHODS = {
    "register": "it is no blueprint: sse_hub.init_app(app) registers one, at"
    " SSE_HUB_URL_PREFIX",
    **dict.fromkeys(["emit", "send", "broadcast", "push", "publish_event"], _PUBLISH),
    **dict.fromkeys(["subscribe", "listen", "messages", "response"], _STREAM),
    **dict.fromkeys(["on", "on_event"], "clients send ordinary requests"),
    **dict.fromkeys(
        ["join_room", "leave_room", "enter_room", "close_room"],
        "a client names its channels in its URL, ?channel=",
    ),
    "run": "run the app itself, under gunicorn or by `flask run`",
    "close": "use drain() to end all streams, or disconnect() for some",
}
