"""What belongs to one app: its configuration, its rules, and each process's hub.

Turns requests into clients. The only place that joins Flask's requests to the hub; what
a user of the extension calls is in ``extension``.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, has_request_context, request, session
from flask.globals import request_ctx
from werkzeug.exceptions import BadRequest

from ..answers.departures import departures
from ..auth import visitor
from ..auth.access import Access, Authorizer, Rules
from ..auth.visitor import Visitor
from ..brokers import create_broker
from ..errors import (
    BrokerUnavailable,
    ClientRefused,
    ConfigurationError,
    InvalidMetadata,
    InvalidName,
    TooManyStreams,
)
from ..events import address
from ..events.address import Address
from ..events.event import checked_name
from ..hub.clients.client import Client, CloseReason, Metadata
from ..hub.clients.notices import Listeners
from ..hub.delivery.history import UNPLACED, Cursor, Record
from ..hub.heartbeat import Heartbeat, places_of, serving_worker, worker_threads
from ..hub.hub import Hub
from ..hub.revalidation import Revalidation
from ..signals import client_connected, client_disconnected, event_published
from ..streams.generator import EventStream, check_server, connection_of
from ..streams.response import (
    StreamResponse,
    accepted_coding,
    keep_out_of_caches,
    refused,
)
from ..streams.takeover import HijackedStream
from .client_address import Callers
from .config import Config
from .cors import Origins

log = logging.getLogger(__name__)

# Metadata is for a person who reads statistics, and is held for each client.
_MAX_METADATA_ITEMS = 16
_MAX_METADATA_CHARS = 256

_TOO_OFTEN = "streams are opened too often from one network address"


class AppHub:
    """What belongs to one app: its configuration, and the hub of each process."""

    def __init__(self, app: Flask, config: Config, rules: Rules) -> None:
        self.app = app
        self.config = config
        self.access = Access(app, config, rules)
        self.origins = Origins(config.cors_origins)
        #: What its hubs go by, from the next one on.
        self.clock: Callable[[], float] = time.monotonic
        #: The same for what outlives a process: retention and tickets.
        self.time_of_day: Callable[[], float] = time.time
        self._rules = rules
        self._callers = Callers(config.connect_rate)
        self._hubs: dict[int, Hub] = {}
        self._several_processes = False
        self._warned = False

    @property
    def hub(self) -> Hub:
        """This process's hub. A forked child makes its own and leaves its parent's."""
        pid = os.getpid()
        hub = self._hubs.get(pid)
        if hub is None:
            # Constructing starts nothing, so of two made at once one is dropped.
            hub = self._hubs.setdefault(pid, self._create_hub())
        return hub

    def _create_hub(self) -> Hub:
        app = self.app
        hub = Hub(
            create_broker(
                self.config.broker_url,
                self.config.retention,
                folder=Path(app.instance_path),
                name=self.config.name or app.name,
                clock=self.time_of_day,
            ),
            self.config.hub,
            listeners=Listeners(
                connected=lambda client: client_connected.send(app, client=client),
                disconnected=lambda client, reason: client_disconnected.send(
                    app, client=client, reason=reason
                ),
            ),
            clock=self.clock,
            time_of_day=self.time_of_day,
        )
        hub.admission.taken_beside = lambda: len(departures())
        hub.run_beside("heartbeat", Heartbeat(hub).run)
        revalidation = Revalidation(
            hub, self.access.lost, interval=self.config.revalidate_interval
        )
        hub.run_beside("revalidation", revalidation.run)
        return hub

    def close(self) -> None:
        """End this process's hub at once; the next use makes another one."""
        hub = self._hubs.pop(os.getpid(), None)
        if hub is not None:
            hub.close()

    def publish(self, record: Record) -> str:
        """Append an event to the log, tell the signal's receivers, return its id.

        Raises BrokerUnavailable, and ConfigurationError where it would not reach every
        process.
        """
        self.check_reach()
        event_id = str(self.hub.publish(record))
        self.warn_of_silence()
        try:
            event_published.send(self.app, event=record.content, event_id=event_id)
        except Exception:
            # The event is in the log: who is told of an error would publish it again.
            log.exception("a receiver of event_published failed")
        return event_id

    def check_reach(self) -> None:
        """Raise ConfigurationError where events would not reach every process.

        Only a request tells how many processes the server runs; threads that publish
        are told what the last one said.
        """
        if has_request_context():
            self._several_processes = bool(request.environ.get("wsgi.multiprocess"))
        if self._several_processes and self.hub.broker.reach == "process":
            raise ConfigurationError(
                "SSE_HUB_BROKER_URL = 'memory://' keeps events within one process, and"
                " this server runs several: most clients would miss most events. Set it"
                " to 'sqlite:///sse_hub.db', or start one worker (gunicorn --workers 1)"
            )

    def warn_of_silence(self) -> None:
        """Say once that what a script publishes to memory:// reaches nobody."""
        if (
            not self._warned
            and not has_request_context()
            and self.hub.broker.reach == "process"
            and not self.hub.ready
        ):
            self._warned = True
            log.warning(
                "SSE_HUB_BROKER_URL = 'memory://' keeps events within this process, and"
                " it serves no stream so far: nobody gets what it publishes. Set it to"
                " 'sqlite:///sse_hub.db' to be heard from scripts and shells"
            )

    def unready(self) -> str | None:
        """Return why this worker cannot serve streams now, None if it can."""
        try:
            check_server(request.environ, threads=worker_threads)
            self.check_reach()
            self.hub.broker.head()
        except ConfigurationError as error:
            return str(error)
        except BrokerUnavailable:
            return "the broker cannot be reached"
        if self.hub.broken:
            return "a part of this worker's hub has failed"
        self.hub.admission.places = places_of(serving_worker())
        return self.hub.admission.full()

    def places_taken(self) -> int:
        """Return how many of its server's places the hub of this process has taken."""
        hub = self._hubs.get(os.getpid())
        return 0 if hub is None else hub.admission.taken()

    def subscribe(self, channels: Sequence[str]) -> Response:
        """Return the blueprint's stream, of channels that are open to who asks."""
        describer = self._rules.describe
        ticket = request.args.get("ticket")
        visitor = partial(self._holder, ticket) if ticket else self.access.visitor
        try:
            return self._open(
                channels,
                visitor=visitor,
                rule=self.access.is_open,
                still_allowed=self.access.is_open,
                metadata=describer() if describer else None,
            )
        except InvalidName as error:
            raise BadRequest(str(error)) from error

    def open_stream(
        self,
        channels: Sequence[str],
        *,
        still_allowed: Authorizer | None,
        personal: bool,
        metadata: Metadata | None,
    ) -> Response:
        """Return a stream of channels that a view of the app has decided about."""
        response = self._open(
            channels,
            visitor=self.access.visitor,
            still_allowed=still_allowed,
            personal=personal,
            metadata=metadata,
        )
        return self.origins.answer(keep_out_of_caches(response))

    def _holder(self, ticket: str) -> Visitor:
        return self.access.holder(
            ticket, self.hub.dispatcher.ended, now=self.time_of_day()
        )

    def _open(
        self,
        channels: Sequence[str],
        *,
        visitor: Callable[[], Visitor],
        rule: Authorizer | None = None,
        still_allowed: Authorizer | None = None,
        personal: bool = True,
        metadata: Metadata | None = None,
    ) -> Response:
        """Return the stream of whoever makes this request, or a refusal that passes.

        ``rule`` decides about each channel now, ``still_allowed`` while it is open.
        """
        check_server(request.environ, threads=worker_threads)
        self.check_reach()
        self.origins.refuse_others()
        hub = self.hub
        worker = serving_worker()
        hub.spread.attend(worker)
        hub.admission.places = places_of(worker)
        ip = self._callers.address()
        try:
            if not self._callers.may_come(ip):
                raise hub.admission.refusal(TooManyStreams(_TOO_OFTEN))
            loaded_at = self.time_of_day()
            since = self._head()
            who = visitor()
            names = self._checked_channels(channels or who.channels or ())
            self.access.check(who, names, rule)
            client = Client(
                self.access.client_id(request.args.get("client_id"), who.identity),
                identity=who.identity,
                channels=names,
                personal=personal,
                since=since,
                loaded_at=loaded_at,
                grant=self.access.grant(who, names, still_allowed),
                ip=ip if self.config.max_clients_per_ip else None,
                ends_at=self._ends_at(who),
                metadata=_checked_metadata(metadata),
                coding=hub.codings.named(accepted_coding(hub.codings.names)),
            )
            hub.admission.check(client.identity, client.ip)
        except ClientRefused as refusal:
            status = 429 if isinstance(refusal, TooManyStreams) else 503
            return refused(str(refusal), status=status)
        stream = HijackedStream if self.config.hijack else EventStream
        return StreamResponse(
            stream(
                hub,
                client,
                last_event_id=request.headers.get("Last-Event-ID")
                or request.args.get("last_event_id")
                or None,
                connection=connection_of(request.environ),
            ),
            coding=client.coding.name,
        )

    def _head(self) -> Cursor:
        """Return the head of the log, before the visitor is loaded."""
        try:
            return self.hub.cursor()
        except BrokerUnavailable:
            # The client waits with its own cursor until the broker is back.
            return UNPLACED

    def _ends_at(self, who: Visitor) -> float:
        """Return when a stream ends whose user cannot be loaded again."""
        if self.access.can_reload(who):
            return math.inf
        hub = self.hub
        return hub.clock() + hub.draw_age(self.config.revalidate_interval)

    def _checked_channels(self, channels: Sequence[str]) -> tuple[str, ...]:
        names = [checked_name(name, what="a channel's name") for name in channels]
        if len(set(names)) > self.config.max_channels:
            raise InvalidName(
                f"{len(set(names))} channels are asked for; {self.config.max_channels}"
                " are allowed (SSE_HUB_MAX_CHANNELS)"
            )
        return tuple(dict.fromkeys(names))

    def watch_logins(self) -> None:
        """Have sessions renewed at login and logout, and their streams ended."""
        try:
            from flask_login import user_logged_in, user_logged_out
        except ImportError:
            return
        user_logged_in.connect(self._logged_in, sender=self.app)
        user_logged_out.connect(self._logged_out, sender=self.app)

    def watch_sessions(self, response: Response) -> Response:
        """End the streams of a session that the app has emptied without a logout.

        A hook after each request; it looks only where the session was changed.
        """
        # Whoever asks flask.session has looked at it, and every page of the app would
        # vary by its cookie: Flask 3.1.3 offers no other way to ask.
        if getattr(request_ctx, "_session", session).modified:
            ended = visitor.ended_by_clearing()
            # A login or a logout of this request may have said so before.
            if ended.minted is None or not self._has_ended(ended.minted):
                self._end(ended)
        return response

    def _has_ended(self, session_id: str) -> bool:
        return address.session(session_id) in self.hub.dispatcher.ended

    def _logged_in(self, _: Flask, user: Any, **__: Any) -> None:
        # Streams opened before are somebody else's, even if only an anonymous person's.
        self._end(visitor.ended_by_login(str(user.get_id())))

    def _logged_out(self, _: Flask, user: Any, **__: Any) -> None:
        user_id = user.get_id() if user is not None else None
        self._end(visitor.ended_by_logout(None if user_id is None else str(user_id)))

    def _end(self, ended: visitor.Ended) -> None:
        if ended.anonymous and self.config.login_required:
            # There are no streams of it, and strangers could fill the log by this.
            return
        if ended.minted is not None:
            self._end_streams(address.session(ended.minted), final=True)
        if ended.unnamed is not None:
            self._end_streams(address.session(ended.unnamed))
        if ended.user is not None:
            # A user whose id is no name for an address has no streams.
            with suppress(InvalidName):
                self._end_streams(address.user(ended.user))

    def _end_streams(self, owner: Address, *, final: bool = False) -> None:
        self.hub.disconnect((owner,), reason=CloseReason.SESSION_ENDED, final=final)


def _checked_metadata(metadata: Metadata | None) -> Metadata | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or len(metadata) > _MAX_METADATA_ITEMS:
        raise InvalidMetadata(
            f"metadata must be a dict of at most {_MAX_METADATA_ITEMS} items"
        )
    for key, value in metadata.items():
        if not isinstance(key, str) or len(key) > _MAX_METADATA_CHARS:
            raise InvalidMetadata(f"the metadata's key {key!r:.50} is no short text")
        if not isinstance(value, str | int | float | None):
            raise InvalidMetadata(f"metadata {key!r} must be text, a number or None")
        if len(str(value)) > _MAX_METADATA_CHARS:
            raise InvalidMetadata(f"metadata {key!r} is too long")
    return dict(metadata)
