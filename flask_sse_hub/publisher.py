"""Publishing from outside the app: Celery, cron jobs, scripts. Does not know Flask."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .brokers import Broker, create_broker, is_redis
from .database import joining
from .database.uncommitted import Destination
from .errors import InvalidOption
from .events.compose import MAX_EVENT_BYTES, Composer, PublishesEvents
from .events.event import LARGEST_BYTES
from .events.pending import PendingEvent, Transactional
from .events.record import Record
from .events.typed.registry import EventTypes
from .runtime.arguments import explaining
from .runtime.per_process import PerProcess

if TYPE_CHECKING:
    from .database.outbox import Outbox


class Publisher(PublishesEvents):
    """Publish events to the log of an app, from a process that is not the app.

    For example::

        publisher = Publisher("sqlite:////srv/app/instance/sse_hub.db")
        publisher.publish({"done": 7}, type="import", user=42)

    The first event opens the connection to the broker. One object serves all threads of
    a process, and also a process that is forked from it.

    Args:
        url: The app's ``SSE_HUB_BROKER_URL``. The path of a SQLite file must be
            absolute: only the app knows where its instance folder is.
        name: The app's ``SSE_HUB_NAME``. Required with Redis.
        create: Whether to begin the log if no app has done so. Otherwise ``publish()``
            raises BrokerUnavailable: the path or the name is probably mistyped, and
            nobody would receive the event.
        max_event_bytes: How many bytes the data of one event may have.
        dumps: Serialises data as JSON that is neither text nor bytes.
        outbox: The app's Outbox, for ``publish(after=..., outbox=True)``. The app's
            workers pass its events on, a few seconds after the commit.
        event_types: The app's typed events.

    Raises:
        InvalidOption: An argument is invalid.

    """

    @explaining(
        "Publisher(url, name=...)",
        words=dict.fromkeys(["broker_url", "redis_url"], "Pass the URL as url=."),
    )
    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        create: bool = False,
        max_event_bytes: int = MAX_EVENT_BYTES,
        dumps: Callable[[Any], str] = json.dumps,
        outbox: "Outbox | None" = None,
        event_types: EventTypes | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise InvalidOption(
                f"url must be a str, the app's SSE_HUB_BROKER_URL, not"
                f" {type(url).__name__}. Within the app, use its SSEHub"
            )
        if (
            not isinstance(max_event_bytes, int)
            or isinstance(max_event_bytes, bool)
            or not 1 <= max_event_bytes <= LARGEST_BYTES
        ):
            raise InvalidOption(
                f"max_event_bytes must be an int from 1 to {LARGEST_BYTES}"
            )
        if not callable(dumps):
            raise InvalidOption(
                f"dumps={dumps!r:.50} cannot be called: pass a function such as"
                " json.dumps"
            )
        if is_redis(url) and name is None:
            raise InvalidOption(
                "name is missing, and Redis needs it: pass the app's SSE_HUB_NAME"
            )
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            raise InvalidOption(
                f"the path in {url!r} is relative to an app's instance folder, which"
                " only the app knows: use an absolute path, as in"
                " sqlite:////an/absolute/path.db"
            )
        self._url = url
        self._name = name or ""
        self._create = create
        self._outbox = outbox
        self._composer = Composer(
            dumps, max_event_bytes, EventTypes() if event_types is None else event_types
        )
        self._broker = PerProcess(self._create_broker)
        self._broker.get()

    def _publishing(self) -> tuple[Composer, Callable[[Record], str]]:
        return self._composer, self._append

    def _publish_after(
        self, after: Transactional, record: Record, *, outbox: bool
    ) -> PendingEvent:
        if outbox:
            return joining.store(after, record, self._outbox, lambda *_: None)
        return joining.append_after(
            after, record, Destination(self._append, lambda *_: None)
        )

    def _append(self, record: Record) -> str:
        return str(self._broker.get().publish(record))

    def close(self) -> None:
        """Close this process's connections. A later ``publish()`` raises an error."""
        self._broker.get().close()

    def _create_broker(self) -> Broker:
        try:
            return create_broker(
                self._url,
                None,
                folder=Path("/"),
                name=self._name,
                create=self._create,
            )
        except ValueError as error:
            raise InvalidOption(f"url cannot be used: {error}") from error
