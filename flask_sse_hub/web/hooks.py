"""Presence hooks: the content of the deliveries to the URLs of SSE_HUB_PRESENCE_HOOKS.

Joins the hub's hooks with signed requests. Does not know when a hook is due.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from ..hub.hooks.courier import Send
from ..hub.hooks.records import Hook
from ..webhooks.sending import Sender
from .config import Config


def senders(
    config: Config, *, time_of_day: Callable[[], float]
) -> dict[str, Send] | None:
    """Return the function that delivers to each URL, None without URLs."""
    scheme = config.presence_hook_secrets
    if scheme is None or not config.presence_hooks:
        return None

    def to(url: str) -> Send:
        sender = Sender(url, scheme, time_of_day=time_of_day)
        return lambda hook: sender.send(hook.id, body_of(hook))

    return {url: to(url) for url in config.presence_hooks}


def body_of(hook: Hook) -> bytes:
    """Return the body of a delivery, in the form of Standard Webhooks."""
    time = datetime.fromtimestamp(hook.time, UTC)
    kind, _ = hook.subject
    return json.dumps(
        {
            "type": hook.type,
            "timestamp": time.isoformat(timespec="milliseconds"),
            "data": {kind: hook.name},
        },
        separators=(",", ":"),
    ).encode()
