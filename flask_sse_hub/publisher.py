"""Publishing from outside the app: Celery, cron jobs, scripts. Does not know Flask."""

import json
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .answers.batch import Batch
from .answers.lasting.arguments import (
    BATCH,
    checked_answer_id,
    converter,
    joined,
    seconds_of,
)
from .answers.lasting.records import Begun
from .answers.lasting.task import TaskAnswer
from .answers.protocols import ProtocolName, protocol_named
from .brokers import Broker, create_broker, is_redis, traced
from .database import joining
from .database.uncommitted import Destination
from .errors import InvalidOption, InvalidTarget
from .events import address
from .events.address import HasId, Name, checked_id
from .events.compose import MAX_EVENT_BYTES, Composer, PublishesEvents
from .events.event import LARGEST_BYTES
from .events.patterns import ChannelHistories, DefaultTtls
from .events.pending import PendingEvent, Transactional
from .events.record import Cursor, Record
from .events.typed.registry import EventTypes
from .hub.presence.questions import AnswersPresence, KnowsPeople, look_up
from .hub.receipts import questions as receipts
from .hub.receipts.fold import Receipt
from .hub.receipts.questions import AnswersReceipts
from .runtime.arguments import explaining
from .runtime.per_process import PerProcess

if TYPE_CHECKING:
    from .database.outbox import Outbox


class Publisher(PublishesEvents, AnswersPresence, AnswersReceipts):
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
        max_event_bytes: How many bytes the data of one event, or of one answer, may
            have.
        dumps: Serialises data as JSON that is neither text nor bytes.
        ttl: The app's ``SSE_HUB_TTL``: the ttl of events by patterns of their channels.
        history: The app's ``SSE_HUB_HISTORY``: how much history channels keep, by
            patterns of their names.
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
        ttl: Mapping[str, float] | None = None,
        history: Mapping[str, Mapping[str, float]] | None = None,
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
        try:
            ttls = DefaultTtls.of({} if ttl is None else ttl)
        except ValueError as error:
            raise InvalidOption(f"ttl cannot be used: {error}") from error
        try:
            histories = ChannelHistories.of({} if history is None else history)
        except ValueError as error:
            raise InvalidOption(f"history cannot be used: {error}") from error
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
            dumps,
            max_event_bytes,
            default_ttls=ttls,
            histories=histories,
            event_types=EventTypes() if event_types is None else event_types,
        )
        self._broker = PerProcess(self._create_broker)
        self._broker.get()

    def _publishing(self) -> tuple[Composer, Callable[[Record], str]]:
        return self._composer, lambda record: traced.publish(record, self._append)

    def _publish_after(
        self, after: Transactional, record: Record, *, outbox: bool
    ) -> PendingEvent:
        if outbox:
            return traced.publish(
                record,
                lambda each: joining.store(after, each, self._outbox, lambda *_: None),
            )
        destination = Destination(self._append, lambda *_: None)
        return traced.publish(
            record, lambda each: joining.append_after(after, each, destination)
        )

    @explaining("answer(id, user=...)", words={})
    def answer(
        self,
        id: str | None = None,  # noqa: A002 - the word of sse_hub.answers
        *,
        user: Name | HasId | None = None,
        session: str | None = None,
        merge: Callable[[list[Any]], Any] | None = None,
        batch: Batch | None = None,
        timeout: float = 86_400.0,
        keep: float = 300.0,
        protocol: ProtocolName | None = "events",
    ) -> TaskAnswer:
        """Return an answer that this process produces, and pages of the app read.

        Use it in a ``with`` block::

            with publisher.answer(job_id, user=42) as out:
                for number, row in enumerate(rows, 1):
                    if out.stopped:
                        break
                    load(row)
                    out.progress(number, "rows", total=len(rows))

        The app reads it by ``sse_hub.answers.response(job_id)``. It goes on without
        readers. Its data may have ``max_event_bytes`` bytes.

        Args:
            id: The answer's id, 1 to 64 letters, digits, ``-`` and ``_``. Left out, it
                is random, and ``out.id`` tells it.
            user: The id of the user to whom the answer belongs.
            session: The session to which it belongs, if there is no user.
            merge: ``"".join`` for an answer of text.
            batch: When items leave together for the log.
            timeout: For how many seconds the answer may run.
            keep: For how many seconds it can be read after its end.
            protocol: The clients that read it; see ``EventSourceResponse``.

        Raises:
            InvalidOption: An argument has the wrong type or is out of its range.
            InvalidName: An id is not usable.
            InvalidTarget: Neither a user nor a session is given.

        The beginning of the block raises BrokerUnavailable, StateFull, and
        TooManyAnswers if an answer with the id is running.

        """
        spoken = protocol_named(protocol)
        batch, is_text = joined(batch or BATCH, merge, spoken)
        owner = address.user_id_of(user)
        if owner is None and session is None:
            raise InvalidTarget("pass user= or session=: the answer belongs to it")
        begun = Begun(
            id=secrets.token_urlsafe(16) if id is None else checked_answer_id(id),
            run=secrets.token_hex(8),
            runner=secrets.token_hex(8),
            user=None if owner is None else checked_id(owner, what="a user's id"),
            session=None
            if owner is not None
            else checked_id(session, what="a session's id"),
            protocol=protocol,
            is_text=is_text,
            linger=None,
            keep=seconds_of("keep", keep),
        )
        return TaskAnswer(
            self._broker.get,
            begun,
            convert=converter(
                spoken,
                dumps=self._composer.dumps,
                is_text=is_text,
                event_types=self._composer.event_types,
            ),
            batch=batch,
            timeout=seconds_of("timeout", timeout, above=0.0),
            max_bytes=self._composer.max_event_bytes,
        )

    def _people(self, _: str | None) -> KnowsPeople:
        return look_up(self._broker.get())

    def _receipts(self) -> Callable[[Cursor], Receipt | None]:
        return partial(receipts.look_up, self._broker.get())

    def _append(self, record: Record) -> str:
        return str(traced.append(self._broker.get(), record))

    def close(self) -> None:
        """Close this process's connections. A later ``publish()`` raises an error.

        For example::

            publisher.close()
        """
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
