"""Publishing from outside the app: Celery, cron jobs, scripts. Does not know Flask."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .brokers import Broker, create_broker, is_redis
from .errors import ConfigurationError, EventTooLarge, InvalidEvent
from .events import address
from .events.address import UNSET, Names, Unset
from .events.event import LARGEST_BYTES, MESSAGE, Event, checked_name, text_of
from .hub.delivery.history import Record

#: The most bytes that an event's data may have, unless told otherwise.
MAX_EVENT_BYTES = 1_048_576


class Publisher:
    """Publish events to the log of an app, from a process that is not the app.

    ``url`` is the app's ``SSE_HUB_BROKER_URL`` and ``name`` its ``SSE_HUB_NAME``, which
    only Redis needs. The path of a file must be absolute: only the app knows where its
    instance folder is. ``dumps`` turns into JSON what is neither text nor bytes.

    Opens nothing before the first event. One object serves all threads, and a process
    that is forked from this one. Raises ConfigurationError::

        publisher = Publisher("sqlite:////srv/app/instance/sse_hub.db")
        publisher.publish({"done": 7}, type="import", user=42)
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
        dumps: Callable[[Any], str] = json.dumps,
    ) -> None:
        if not isinstance(url, str):
            raise ConfigurationError(f"the url must be a str, not {type(url).__name__}")
        if (
            not isinstance(max_event_bytes, int)
            or not 1 <= max_event_bytes <= LARGEST_BYTES
        ):
            raise ConfigurationError(
                f"max_event_bytes must be a number above 0, at most {LARGEST_BYTES}"
            )
        if not callable(dumps):
            raise ConfigurationError("dumps must be callable, as json.dumps is")
        if is_redis(url) and name is None:
            raise ConfigurationError("name is needed with a Redis: the SSE_HUB_NAME")
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            raise ConfigurationError(
                f"the path in {url!r} is relative to an app's instance folder, which"
                " only the app knows: write sqlite:////an/absolute/path.db"
            )
        self._url = url
        self._name = name or ""
        self._max_event_bytes = max_event_bytes
        self._dumps = dumps
        self._brokers: dict[int, Broker] = {}
        self._brokers[os.getpid()] = self._create_broker()

    def publish(
        self,
        data: object,
        *,
        type: str | Unset = UNSET,
        channel: Names | Unset = UNSET,
        user: Names | Unset = UNSET,
        session: Names | Unset = UNSET,
        client: Names | Unset = UNSET,
        exclude_client: Names | None = None,
        retry: float | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Publish an event and return its id, as ``SSEHub.publish`` does.

        Raises InvalidEvent, EventTooLarge, InvalidName, InvalidTarget, and
        BrokerUnavailable, after which it is unknown whether the event was appended.
        """
        record = record_of(
            data,
            dumps=self._dumps,
            max_event_bytes=self._max_event_bytes,
            type=type,
            channel=channel,
            user=user,
            session=session,
            client=client,
            exclude_client=exclude_client,
            retry=retry,
            idempotency_key=idempotency_key,
        )
        return str(self._broker.publish(record))

    def close(self) -> None:
        """Close this process's connections. Publishing afterwards raises."""
        self._broker.close()

    @property
    def _broker(self) -> Broker:
        pid = os.getpid()
        broker = self._brokers.get(pid)
        if broker is None:
            # A forked child makes its own and leaves its parent's.
            broker = self._brokers.setdefault(pid, self._create_broker())
        return broker

    def _create_broker(self) -> Broker:
        try:
            return create_broker(self._url, None, folder=Path("/"), name=self._name)
        except ValueError as error:
            raise ConfigurationError(f"the url cannot be used: {error}") from error


def record_of(
    data: object,
    *,
    dumps: Callable[[Any], str],
    max_event_bytes: int,
    type: str | Unset,
    channel: Names | Unset,
    user: Names | Unset,
    session: Names | Unset,
    client: Names | Unset,
    exclude_client: Names | None,
    retry: float | None,
    idempotency_key: str | None,
) -> Record:
    """Return the record for what a caller of ``publish`` gave.

    Raises InvalidEvent, EventTooLarge, InvalidName and InvalidTarget.
    """
    event = _event_of(data, dumps=dumps, type=type, retry=retry)
    size = len(event.data.encode())
    if size > max_event_bytes:
        raise EventTooLarge(
            f"the data has {size} bytes; {max_event_bytes} are allowed"
            " (SSE_HUB_MAX_EVENT_BYTES). Publish an address to load it from"
        )
    return Record(
        addresses=address.target(
            channel=channel, user=user, session=session, client=client
        ),
        content=event,
        exclude=_client_ids(exclude_client),
        idempotency_key=None
        if idempotency_key is None
        else checked_name(idempotency_key, what="an idempotency key"),
    )


def _event_of(
    data: object,
    *,
    dumps: Callable[[Any], str],
    type: str | Unset,
    retry: float | None,
) -> Event:
    if not isinstance(data, Event):
        return Event(
            text_of(data, dumps=dumps),
            type=MESSAGE if type is UNSET else type,
            retry=retry,
        )
    if type is not UNSET or retry is not None:
        raise InvalidEvent(
            "an Event has its own type and retry: give none beside it, or publish its"
            " data instead"
        )
    return data


def _client_ids(names: Names | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return tuple(
        address.checked_id(name, what="a client's id")
        for name in address.each_name(names, what="exclude_client")
    )
