"""LastingAnswers that outlive their readers, as an app calls them: ``sse_hub.answers``.

Knows requests: whose answer it is, who may read it, and the responses of readers. Does
not know how an answer travels.
"""

import random
import secrets
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import NotFound

from ..answers.batch import Batch
from ..answers.body import COMMENT, AnswerBody
from ..answers.lasting.arguments import (
    BATCH,
    checked_answer_id,
    converter,
    is_answer_id,
    joined,
    seconds_of,
)
from ..answers.lasting.desk import Desk
from ..answers.lasting.entry import BookEntry
from ..answers.lasting.reader import BookReader, position_of
from ..answers.lasting.records import Begun
from ..answers.lasting.status import AnswerStatus, status_of
from ..answers.producer import BUFFERED_ITEMS, Producer, close_iterable
from ..answers.protocols import ProtocolName, protocol_named
from ..answers.response import (
    ONE_BY_ONE,
    LastingResponse,
    check_heartbeat,
    check_items,
    check_room,
)
from ..auth.rules import allows
from ..auth.visitor import Visitor
from ..errors import BrokerUnavailable, TooManyAnswers
from ..events import address
from ..events.address import UNSET, HasId, Name, Unset
from ..events.event import encode_retry
from ..hub.clients.client import Client, Identity
from ..runtime import tracing
from ..runtime.arguments import explaining
from ..server.connection import connection_of, last_event_id
from ..server.places import place_ledger
from ..streams.response import refused
from .answer_owners import belongs_to, owner_of
from .config import Config
from .reach import Reach
from .registering import check_callable
from .restarts import Restarter, Restarters
from .subscribing import Subscribing

#: The response header with the answer's id.
ID_HEADER = "Answer-ID"

#: ``f(user, answer) -> bool``: whether a visitor may read an answer of another one.
MayRead = Callable[[Any, "AnswerStatus"], bool]

# One text for unknown answers and for those of others, which cannot be told apart.
_NO_ANSWER = "there is no such answer"


class StartedAnswer:
    """An answer that was started a moment ago."""

    def __init__(self, answers: "LastingAnswers", answer_id: str) -> None:
        #: The id, by which pages and other workers name the answer.
        self.id = answer_id
        self._answers = answers

    def response(self, *, heartbeat: float = 15.0, compress: bool = True) -> Response:
        """Return the response in which the current visitor reads the answer.

        The response may set a cookie: an anonymous visitor is known by its session
        later.

        Args:
            heartbeat: A comment is sent after this many seconds without an event.
            compress: Whether the stream is compressed if the client accepts gzip.

        """
        return self._answers.respond(
            self.id, lambda *_: True, heartbeat, compress=compress, is_first=True
        )

    def __repr__(self) -> str:
        return f"<StartedAnswer {self.id!r}>"


class LastingAnswers:
    """The answers of one app that outlive their readers: ``sse_hub.answers``.

    For example::

        @app.post("/ask")
        def ask():
            tokens = complete(request.form["question"])
            return sse_hub.answers.start(tokens, merge="".join).response()

        @app.get("/answers/<answer_id>")
        def read(answer_id):
            return sse_hub.answers.response(answer_id)

        for answer in sse_hub.answers.list(user=42):
            if answer.state == "running":
                sse_hub.answers.stop(answer.id)
                assert sse_hub.answers.get(answer.id).state == "stopped"
    """

    def __init__(
        self,
        app: Flask,
        config: Config,
        reach: Reach,
        subscribing: Subscribing,
        restarters: Restarters,
        *,
        desk: Callable[[], Desk],
    ) -> None:
        self._app = app
        self._config = config
        self._reach = reach
        self._subscribing = subscribing
        self._restarters = restarters
        self._desk = desk

    @explaining("sse_hub.answers.start(items, user=..., merge=...)", words={})
    def start(
        self,
        iterable: Iterable[Any],
        *,
        id: str | None = None,  # noqa: A002 - the word of the whole API
        user: Name | HasId | Unset | None = UNSET,
        session: str | None = None,
        merge: Callable[[list[Any]], Any] | None = None,
        batch: Batch | None = None,
        linger: float | None = 30.0,
        timeout: float = 600.0,
        keep: float = 300.0,
        app_context: bool = False,
        protocol: ProtocolName | None = "events",
        restart: Restarter | None = None,
    ) -> StartedAnswer:
        """Start an answer that goes on without its reader, and can be read again.

        The iterable runs in a thread or greenlet of this worker, as with
        ``EventSourceResponse``. Its items go to the log in batches, and every worker
        can serve them.

        Args:
            iterable: The items: text, ``Event``, ``Progress``, or data for JSON.
            id: 1 to 64 letters, digits, ``-`` and ``_``; random if left out.
            user: The user to whom the answer belongs. Left out or None, it belongs to
                the current user, or to the session of an anonymous visitor.
            session: The session to which the answer belongs, if there is no user.
            merge: ``"".join`` for an answer of text: all items are str, and late
                readers receive the text so far as one event.
            batch: When items leave together for the log.
            linger: For how many seconds the answer goes on without a reader anywhere.
                0: it stops with its last reader. None: it always finishes.
            timeout: For how many seconds the answer may run.
            keep: For how many seconds it can be read after its end.
            app_context: Whether the iterable runs in an app context of its own.
            protocol: The clients that read the answer; see ``EventSourceResponse``.
            restart: A function of ``@sse_hub.restart_answer`` that goes on with the
                answer in another worker, if this one goes away.

        Returns:
            The answer, with its ``id`` and its ``response()``.

        Raises:
            InvalidOption: An argument has the wrong type or is out of its range.
            InvalidName: An id is not usable.
            InvalidTarget: Outside a request, neither a user nor a session is given.
            TooManyAnswers: A limit is reached. Unhandled, it is answered with 429.
            StateFull: The log has no room for another answer.
            BrokerUnavailable: The broker cannot be reached.
            ConfigurationError: Other processes would not be reached.

        """
        check_items(iterable, batch)
        try:
            spoken = protocol_named(protocol)
            batch, is_text = joined(batch or BATCH, merge, spoken)
            timeout = seconds_of("timeout", timeout, above=0.0)
            self._reach.check()
            owner = owner_of(user, session)
            answer_id = (
                secrets.token_urlsafe(16) if id is None else checked_answer_id(id)
            )
            desk = self._desk()
            # Also makes this worker follow the log.
            running = [each for each in desk.entries() if each.is_running]
            self._check_limits(desk, running, owner, answer_id)
            begun = Begun(
                id=answer_id,
                run=secrets.token_hex(8),
                runner=desk.member_id,
                user=owner.user,
                session=owner.session,
                protocol=protocol,
                is_text=is_text,
                linger=None if linger is None else seconds_of("linger", linger),
                keep=seconds_of("keep", keep),
                restart=self._restarters.plan(
                    restart,
                    batch=batch,
                    timeout=timeout,
                    app_context=app_context,
                ),
            )
        except BaseException:
            close_iterable(iterable)
            raise
        source = Producer(
            iterable,
            convert=converter(
                spoken,
                dumps=self._app.json.dumps,
                is_text=is_text,
                event_types=self._app.extensions["sse_hub"].event_types,
            ),
            around=self._app.app_context if app_context else nullcontext,
            room=min(batch.size, BUFFERED_ITEMS),
        )
        desk.start(begun, source, batch=batch, timeout=timeout, debug=self._app.debug)
        return StartedAnswer(self, answer_id)

    def _check_limits(
        self, desk: Desk, running: list[BookEntry], owner: Identity, answer_id: str
    ) -> None:
        if any(each.begun.id == answer_id for each in running):
            raise TooManyAnswers(
                f"the answer {answer_id!r} runs already: read it, or stop it first"
            )
        most = self._config.answers_per_user
        if most is not None:
            own = [each for each in running if belongs_to(each.begun, owner)]
            if len(own) >= most:
                raise TooManyAnswers(
                    f"{len(own)} answers of this user are running;"
                    f" SSE_HUB_ANSWERS_PER_USER allows {most}"
                )
        most = self._config.answers_per_worker
        if desk.running >= most:
            raise TooManyAnswers(
                f"this worker runs {desk.running} answers;"
                f" SSE_HUB_ANSWERS_PER_WORKER allows {most}"
            )

    def response(
        self,
        answer_id: str,
        *,
        may_read: MayRead | None = None,
        heartbeat: float = 15.0,
        compress: bool = True,
    ) -> Response:
        """Return a response in which the current visitor reads an answer.

        It begins with everything so far, or after the client's ``Last-Event-ID``, and
        goes on to the end. A logout ends the reading, and not the answer.

        Args:
            answer_id: The answer's id.
            may_read: ``f(user, answer) -> bool`` opens answers of others. Without it
                only the answer's own user or session may read.
            heartbeat: A comment is sent after this many seconds without an event.
            compress: Whether the stream is compressed if the client accepts gzip.

        Returns:
            The stream, or a refusal if a limit is reached.

        Raises:
            NotFound: There is no such answer, or it belongs to somebody else.
            InvalidOption: An argument has the wrong type or is out of its range.
            ConfigurationError: The server or the broker cannot serve streams.

        """
        if may_read is not None:
            check_callable("may_read", may_read, ("user", "answer"))

        def is_allowed(entry: BookEntry, who: Visitor) -> bool:
            if belongs_to(entry.begun, who.identity):
                return True
            return may_read is not None and allows(
                may_read, who.person, status_of(entry)
            )

        return self.respond(answer_id, is_allowed, heartbeat, compress=compress)

    def respond(
        self,
        answer_id: str,
        is_allowed: Callable[[BookEntry, Visitor], bool],
        heartbeat: float,
        *,
        compress: bool,
        is_first: bool = False,
    ) -> Response:
        """Return the response for a visitor that ``is_allowed`` to read an answer."""
        check_heartbeat(heartbeat)
        self._subscribing.add_headers_later()
        desk = self._desk()
        try:
            entry = self._find(answer_id)
        except BrokerUnavailable as error:
            return refused(str(error), status=503)

        def check(who: Visitor) -> None:
            if entry is None or not is_allowed(entry, who):
                raise NotFound(_NO_ANSWER)

        client = self._subscribing.reader(check)
        if not isinstance(client, Client) or entry is None:
            return client  # type: ignore[return-value]
        tracing.link(entry.traceparent)
        spoken = protocol_named(entry.begun.protocol)  # type: ignore[arg-type]
        places = place_ledger()
        check_room(places, for_event_source=spoken.for_event_source)
        connection = connection_of(request.environ)
        resumes = spoken.for_event_source
        retry = encode_retry(random.uniform(*self._config.retry)).encode()
        body = AnswerBody(
            lambda convert: BookReader(
                desk,
                entry,
                client,
                position=position_of(last_event_id(request), entry),
                convert=convert,
                connection=connection,
                announces=entry.begun.protocol == "events",
                resumes=resumes,
            ),
            heartbeat=heartbeat,
            batch=ONE_BY_ONE,
            protocol=spoken,
            dumps=self._app.json.dumps,
            connection=connection,
            name=request.endpoint,
            places=places,
            debug=current_app.debug,
            greeting=retry + COMMENT if resumes else COMMENT,
            resumes=resumes,
        )
        return LastingResponse(
            body,
            compress=compress,
            headers={**spoken.headers, ID_HEADER: entry.begun.id},
            keeps_cookies=is_first,
        )

    def _find(self, answer_id: str) -> BookEntry | None:
        if not is_answer_id(answer_id):
            return None
        return self._desk().find(answer_id)

    def stop(self, answer_id: str) -> bool:
        """Stop an answer, wherever it runs; tell whether it was running.

        The end is in the log when the call returns, and all readers are told of it. The
        iterable is interrupted: a greenlet where it waits, a thread at its next item.
        Check first that the user may stop the answer.

        Args:
            answer_id: The answer's id.

        Raises:
            BrokerUnavailable: The broker cannot be reached.

        """
        self._reach.check()
        return self._find(answer_id) is not None and self._desk().stop(answer_id)

    def get(self, answer_id: str) -> AnswerStatus | None:
        """Return an answer, None if it is unknown.

        Args:
            answer_id: The answer's id.

        Raises:
            BrokerUnavailable: The broker cannot be reached.

        """
        entry = self._find(answer_id)
        return None if entry is None else status_of(entry)

    def list(self, *, user: Name | HasId | Unset = UNSET) -> "list[AnswerStatus]":
        """Return all answers, or those of a user, the oldest first.

        Those that have ended are among them, as long as they can be read.

        Args:
            user: The id of a user, or a user object.

        Raises:
            InvalidName: The user's id is not usable.
            BrokerUnavailable: The broker cannot be reached.

        """
        entries = self._desk().entries()
        if not isinstance(user, Unset):
            user_id = address.checked_id(address.user_id_of(user), what="a user's id")
            entries = [each for each in entries if each.begun.user == user_id]
        return [status_of(each) for each in entries]


def too_many(error: TooManyAnswers) -> Response:
    """Return the response for a request that lets TooManyAnswers out."""
    return refused(str(error), status=429)
