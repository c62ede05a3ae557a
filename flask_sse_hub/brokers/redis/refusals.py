"""Refusals of a Redis, as errors that say what to do.

Knows the errors of redis-py and the texts of a Redis. Does not know the commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from ...errors import BrokerUnavailable, SSEHubError
from ..base import state_full

# The answers of a cluster's node to a key that belongs to another node, or to none.
_OF_A_CLUSTER = (
    redis.exceptions.AskError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.ClusterCrossSlotError,
    redis.exceptions.TryAgainError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of redis-py into BrokerUnavailable."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise _unavailable(error) from error


def refusal(error: Exception) -> SSEHubError:
    """Return the error of an append that Redis or the script has refused."""
    is_full = isinstance(error, redis.ResponseError) and "STATEFULL" in str(error)
    return state_full() if is_full else _unavailable(error)


def _unavailable(error: Exception) -> BrokerUnavailable:
    text = str(error)
    remedy = ""
    if isinstance(error, _OF_A_CLUSTER):
        text = "this is a node of a Redis Cluster, which is not supported"
        remedy = "; give the URL of a single Redis or of its Sentinels"
    elif "XTRIM" in text or "syntax error" in text:
        remedy = "; use Redis 6.2 or later"
    elif "OOM" in text:
        remedy = "; Redis has reached its maxmemory: raise it or keep less history"
    elif "WRONGTYPE" in text or "not written by this package" in text:
        remedy = (
            "; another program uses the key of this log: choose another SSE_HUB_NAME"
        )
    elif "no app has begun" in text:
        text = "no app has begun a log of this name, so nobody would receive the event"
        remedy = (
            "; check the URL and the name, start the app first, or pass create=True to"
            " Publisher"
        )
    elif "permission" in text or "can't run this command" in text:
        remedy = "; give this user the rights that docs/brokers.md lists"
    elif isinstance(error, redis.ReadOnlyError):
        remedy = (
            "; this server is a replica: give the URL of its master or its Sentinels"
        )
    return BrokerUnavailable(f"Redis: {text}{remedy}")
