"""The state of one app: its configuration, its rules, and the hub of each process.

Stored in ``app.extensions["sse_hub"]``. The ``SSEHub`` object holds no state of an app,
so that one object can serve many apps.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, has_request_context

from ..answers.lasting.desk import Desk
from ..auth.access import Access
from ..auth.rules import Rules
from ..brokers import Broker, create_broker, traced
from ..errors import BrokerUnavailable
from ..events.address import Address
from ..events.compose import Composer
from ..events.patterns import first_match
from ..events.pending import PendingEvent
from ..events.record import Record
from ..events.typed.registry import EventTypes
from ..hub.clients.close_reason import CloseReason
from ..hub.clients.notices import Listeners
from ..hub.heartbeat import Heartbeat
from ..hub.hub import Hub
from ..hub.parts import Parts
from ..hub.presence.announcer import Arrivals
from ..hub.revalidation import Revalidation
from ..metrics.figures import figures_of
from ..metrics.lives import FoundLives
from ..metrics.machine import Machine
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import PerProcess
from ..runtime.rare_log import RareLog
from ..server.places import place_ledger
from ..signals import (
    channel_occupied,
    channel_vacated,
    client_connected,
    client_disconnected,
    event_published,
    event_unheard,
    user_came,
    user_left,
)
from .after_commit import AfterCommit
from .answers import LastingAnswers
from .config import Config
from .cors import Origins
from .hooks import senders
from .late_settings import LateSettings
from .logins import Logins
from .presence import PresenceOfStreams
from .problems import Problems
from .reach import Reach
from .restarts import AppRestarts, Restarters
from .subscribing import Subscribing

if TYPE_CHECKING:
    from ..database.outbox import Outbox

log = CodedLog(__name__)


class AppState:
    """The state of one app. Creating it starts nothing."""

    def __init__(
        self,
        app: Flask,
        config: Config,
        rules: Rules,
        *,
        restarters: Restarters,
        outbox: "Outbox | None" = None,
        event_types: EventTypes | None = None,
    ) -> None:
        self.app = app
        self.config = config
        self.late_settings = LateSettings(app)
        #: The typed events of the app.
        self.event_types = EventTypes() if event_types is None else event_types
        self._rare_log = RareLog(log)
        #: Turns the arguments of ``publish()`` into records.
        self.composer = Composer(
            # Looked up for each event: the app may replace its JSON provider later.
            lambda data: app.json.dumps(data),
            config.max_event_bytes,
            default_ttls=config.ttl,
            histories=config.history,
            event_types=self.event_types,
        )
        self.access = Access(
            app,
            rules,
            login_required=config.login_required,
            is_public=config.is_public,
        )
        self.origins = Origins(config.cors_origins)
        self.reach = Reach(lambda: self.hub)
        self.problems = Problems(app, config, self.reach)
        self.logins = Logins(
            lambda: self.hub,
            login_required=config.login_required,
            time_of_day=lambda: self.time_of_day(),
        )
        #: The part of each stream in the presence.
        self.presence = PresenceOfStreams(config, rules)
        self.subscribing = Subscribing(
            config,
            rules,
            self.access,
            self.presence,
            self.origins,
            self.reach,
            hub=lambda: self.hub,
            time_of_day=lambda: self.time_of_day(),
        )
        self._restarters = restarters
        self.answers = LastingAnswers(
            app,
            config,
            self.reach,
            self.subscribing,
            restarters,
            desk=lambda: self._desks.get(),
        )
        self.after_commit = AfterCommit(
            app, outbox, append=self._append, hub=lambda: self.hub
        )
        #: The monotonic clock for hubs. A new value takes effect at the next hub.
        self.clock: Callable[[], float] = time.monotonic
        #: The time of day, for things that outlive a process: retention and tickets.
        self.time_of_day: Callable[[], float] = time.time
        # A hub and its answers belong together.
        self._desks = PerProcess(self._create_desk)
        self._machines = PerProcess(self._create_machine)

    @property
    def hub(self) -> Hub:
        """The hub of this process."""
        return self._desks.get().hub

    @property
    def broker(self) -> Broker:
        """The broker of this process, for commands and tests that read the log."""
        return self.hub.broker

    @property
    def machine(self) -> Machine:
        """The workers of this machine, seen by this process."""
        return self._machines.get()

    def _create_machine(self) -> Machine:
        hub, config = self.hub, self.config
        counted = config.metrics_channels
        return Machine(
            self.log_identity,
            own=lambda number, clients: figures_of(
                hub,
                worker=number,
                max_clients=config.max_clients,
                answers=place_ledger().answers,
                running_answers=self._desks.get().running,
                roster=hub.roster if config.presence else None,
                pattern=partial(first_match, patterns=counted) if counted else None,
                clients=clients,
            ),
            streams=hub.client_stats,
            lives=lambda user, worker: FoundLives.among(
                *hub.lives(user), worker=worker
            ),
            alone=hub.reach == "process",
        )

    @property
    def log_identity(self) -> str:
        """The text that is the same for all workers of this app's log on a machine."""
        config, app = self.config, self.app
        # A relative path of an SQLite file is in the instance folder.
        return "\0".join(
            (config.broker_url, config.name or app.name, app.instance_path)
        )

    def _create_desk(self) -> Desk:
        restarts = AppRestarts(
            self.app,
            self._restarters,
            event_types=self.event_types,
            most_running=self.config.answers_per_worker,
        )
        return Desk(
            self._create_hub(),
            max_bytes=self.config.answers_bytes,
            restarts=restarts,
        )

    def _create_hub(self) -> Hub:
        app = self.app
        self.late_settings.check(app)
        parts = Parts(
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
                listen=lambda: bool(
                    client_connected.receivers or client_disconnected.receivers
                ),
            ),
            arrivals=Arrivals(
                user_came=lambda user: user_came.send(app, user=user),
                user_left=lambda user: user_left.send(app, user=user),
                channel_occupied=lambda channel: channel_occupied.send(
                    app, channel=channel
                ),
                channel_vacated=lambda channel: channel_vacated.send(
                    app, channel=channel
                ),
            ),
            unheard=lambda event, event_id, target: event_unheard.send(
                app, event=event, event_id=event_id, target=target
            ),
            hooks=senders(self.config, time_of_day=self.time_of_day),
            places=place_ledger(),
            clock=self.clock,
            time_of_day=self.time_of_day,
        )
        hub = Hub(parts)
        heartbeat = Heartbeat(parts)
        hub.run_beside("heartbeat", lambda: heartbeat.run(hub.closed), by_clock=True)
        hub.run_beside(
            "judge of ids", lambda: heartbeat.judge(hub.closed), by_clock=True
        )
        revalidation = Revalidation(
            parts, self.access.lost, interval=self.config.revalidate_interval
        )
        hub.run_beside(
            "revalidation", lambda: revalidation.run(hub.closed), by_clock=True
        )
        hub.run_beside("figures", lambda: self.machine.run(hub.closed))
        hub.run_beside("start of the outbox", self.after_commit.start)
        hub.outbox = self.after_commit.stats
        return hub

    def close(self) -> None:
        """End this process's hub at once. The next use creates another one."""
        self.after_commit.close()
        machine = self._machines.pop()
        if machine is not None:
            machine.leave()
        desk = self._desks.pop()
        if desk is not None:
            desk.abandon()
            desk.hub.close()

    def disconnect(self, addresses: tuple[Address, ...]) -> None:
        """End the streams that belong to these addresses, on every worker.

        In a request this goes on in the background: a visitor must not wait because the
        broker is away. Any other caller may end right after the call, and the
        background with it. So the control record is in the log when the call returns.

        Raises ConfigurationError if streams of other processes would not be reached,
        and outside a request BrokerUnavailable.
        """
        self.reach.check()
        self.hub.disconnect(
            addresses,
            reason=CloseReason.DISCONNECTED,
            beside=has_request_context(),
        )
        self.reach.warn_of_silence("disconnect() ends no stream")

    def publish_after(
        self, after: object, record: Record, *, stored: bool
    ) -> PendingEvent:
        """Publish an event once a transaction commits, through the outbox if stored.

        Raises InvalidOption, and ConfigurationError if the event would not reach every
        process.
        """
        self.reach.check()
        return traced.publish(
            record, lambda each: self.after_commit.publish(after, each, stored=stored)
        )

    def publish(self, record: Record) -> str:
        """Append an event to the log, send the signal, and return the event's id.

        Raises BrokerUnavailable, and ConfigurationError if the event would not reach
        every process.
        """
        return traced.publish(record, self._append)

    def _append(self, record: Record) -> str:
        self.reach.check()
        if record.receipt and has_request_context():
            # Otherwise no worker may look for its streams, because there is none yet.
            with suppress(BrokerUnavailable):
                self.hub.start()
        event_id = str(self.hub.publish(record))
        self.reach.warn_of_silence("no client receives the published events")
        try:
            event_published.send(self.app, event=record.content, event_id=event_id)
        except Exception:  # noqa: BLE001 - it is logged
            # The event is in the log already. If this raised, the caller would publish
            # it again.
            self._rare_log.exception(
                "SSE-1505", "a receiver of the signal event_published failed"
            )
        return event_id
