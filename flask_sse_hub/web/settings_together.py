"""Settings that fit each other, and settings that are probably in another unit.

Each setting alone has been checked before. Does not know how settings are read.
"""

from typing import TYPE_CHECKING

from ..brokers import is_redis
from ..errors import ConfigurationError
from ..events.seconds import LONGEST_SHORT
from ..runtime.coded_log import CodedLog
from .setting_names import PREFIX

if TYPE_CHECKING:
    from .config import Config

log = CodedLog(__name__)

# Settings that are short, so that a large value is most likely in milliseconds.
_SHORT = ("heartbeat_interval", "connection_timeout", "retry")


def check_together(config: "Config") -> None:
    """Raise ConfigurationError for settings that do not fit each other."""
    if is_redis(config.broker_url) and config.name is None:
        raise ConfigurationError(
            f"{PREFIX}NAME must be set with a Redis, which several apps may share:"
            " choose a name that every process of this app has, and no other app"
        )
    for name in ("history_bytes", "memory_history_bytes"):
        if getattr(config, name) < 2 * config.max_event_bytes:
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} ({getattr(config, name)}) is too small for"
                f" two of the largest events: set it to at least twice"
                f" {PREFIX}MAX_EVENT_BYTES ({config.max_event_bytes})"
            )
    if config.presence_hooks:
        if config.presence_hook_secrets is None:
            raise ConfigurationError(
                f"{PREFIX}PRESENCE_HOOKS needs {PREFIX}PRESENCE_HOOK_SECRETS: without a"
                " signature, receivers could not tell these deliveries from forged ones"
            )
        if not config.presence:
            raise ConfigurationError(
                f"{PREFIX}PRESENCE_HOOKS needs channels with presence: name patterns of"
                f" them in {PREFIX}PRESENCE"
            )
    for pattern, bounds in config.history.by_pattern:
        if bounds.events is not None and bounds.events > config.history_events:
            raise ConfigurationError(
                f"{PREFIX}HISTORY lets channels {pattern!r:.60} keep {bounds.events}"
                f" events, and {PREFIX}HISTORY_EVENTS ({config.history_events}) bounds"
                " all channels together: raise it"
            )


def tell_of_milliseconds(config: "Config") -> None:
    """Log a warning for each setting that is probably meant in milliseconds."""
    for name in _SHORT:
        value = getattr(config, name)
        if (max(value) if isinstance(value, tuple) else value) > LONGEST_SHORT:
            log.warning(
                "SSE-1004",
                "the setting %s%s is %s seconds (seconds, not milliseconds?)",
                PREFIX,
                name.upper(),
                value,
            )
