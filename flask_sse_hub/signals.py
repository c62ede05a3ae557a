"""Signals (blinker), sent with the app as sender.

Receivers of ``event_published`` run in the code that publishes, and those of
``event_lost`` in the code that commits. Events of the outbox are published by a thread
of the hub, with an app context. Receivers of the client
signals run in a greenlet or thread of the hub or of the stream, without an app context:
use ``with sender.app_context():``. An error in a receiver is logged and not raised.
"""

from blinker import Namespace

_signals = Namespace()

client_connected = _signals.signal(
    "client-connected",
    "A stream was opened. Sent with ``client``, a ClientStats.",
)

client_disconnected = _signals.signal(
    "client-disconnected",
    "A stream ended. Sent with ``client``, a ClientStats, and ``reason``, a "
    "CloseReason.",
)

event_published = _signals.signal(
    "event-published",
    "This process appended an event to the log. Sent with ``event``, an Event, and "
    "``event_id``, the event's id.",
)

user_came = _signals.signal(
    "user-came",
    "A user has come: to the first channel with presence, with the first stream of "
    "all workers. Sent with ``user``, the user's id, in one process of all.",
)

user_left = _signals.signal(
    "user-left",
    "A user has left the last channel with presence. Sent with ``user`` after "
    "SSE_HUB_PRESENCE_GRACE, in one process of all.",
)

channel_occupied = _signals.signal(
    "channel-occupied",
    "The first user has come to a channel with presence. Sent with ``channel``, in "
    "one process of all.",
)

channel_vacated = _signals.signal(
    "channel-vacated",
    "The last user has left a channel with presence. Sent with ``channel`` after "
    "SSE_HUB_PRESENCE_GRACE, in one process of all.",
)

event_unheard = _signals.signal(
    "event-unheard",
    "An event with ``receipt=True`` was written to no stream, and nobody addressed "
    "is present. Sent with ``event``, an Event, ``event_id``, and ``target``, "
    '"everyone" or the names by their kind, in one process of all.',
)

event_lost = _signals.signal(
    "event-lost",
    "An event of ``publish(after=...)`` could not be published after its commit: "
    "the broker was away. Sent with ``event``, an Event, and ``error``. The outcome "
    "is unknown: the event may be in the log.",
)
