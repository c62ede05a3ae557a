"""Signals (blinker), sent with the app as sender.

Receivers run where the thing happens, for the client signals in the stream's greenlet
or thread without an app context. What they raise is logged and goes no further.
"""

from blinker import Namespace

_signals = Namespace()

#: A stream was opened. Sent with ``client``, a ClientStats.
client_connected = _signals.signal("client-connected")

#: A stream ended. Sent with ``client``, a ClientStats, and ``reason``, a CloseReason.
client_disconnected = _signals.signal("client-disconnected")

#: An event was appended to the log. Sent with ``event``, an Event, and ``event_id``.
event_published = _signals.signal("event-published")
