"""The parts of one hub, connected with each other. Nothing is started here."""

import time
from collections.abc import Callable, Mapping

from ..brokers import Broker
from ..events.coding import Codings
from ..runtime.closing import Closed
from ..server.accept_balance import AcceptBalance
from ..server.places import PlaceLedger
from .clients.admission import Admission
from .clients.journal import Journal
from .clients.notices import Listeners, Notices
from .clients.registry import ClientRegistry
from .deafness import Deafness
from .delivery.backlog import Backlog
from .delivery.catchup import Catchup
from .delivery.dispatcher import Dispatcher
from .delivery.ends import Ends
from .delivery.history import History
from .delivery.progress import DeliveryProgress
from .delivery.subscriptions import Subscriptions
from .delivery.waking import Waking
from .delivery.writer import Writer
from .folds import Folds
from .follower import Follower
from .hooks.courier import Courier, Send
from .hooks.keeper import HookKeeper
from .lifecycle import Lifecycle
from .members import Members
from .options import HubOptions
from .presence.announcer import Announcer, Arrivals
from .presence.roster import Roster
from .receipts.clerk import Clerk, Unheard
from .tally import Tally

#: A function of a part, which runs in a thread of its own until a hub is closed.
Task = Callable[[Closed], None]


class Parts:
    """One of each part, for one hub in one process.

    Args:
        broker: The log that the hub follows.
        options: The hub's settings.
        listeners: Functions to call when a stream begins or ends.
        arrivals: Functions to call when people come and leave.
        unheard: A function to call for an event that nobody has heard.
        hooks: The URLs that are told of people and channels, and how.
        places: The ledger of the server's places; a new one without a limit by default.
        clock: The monotonic clock, in seconds.
        time_of_day: The time of day, in seconds since 1970.

    """

    def __init__(
        self,
        broker: Broker,
        options: HubOptions,
        *,
        listeners: Listeners | None = None,
        arrivals: Arrivals | None = None,
        unheard: Unheard | None = None,
        hooks: Mapping[str, Send] | None = None,
        places: PlaceLedger | None = None,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self.broker = broker
        self.options = options
        self.clock = clock
        self.tally = tally = Tally()
        self.codings = Codings(min_bytes=options.compress_min_bytes)
        self.registry = registry = ClientRegistry()
        self.admission = Admission(
            options,
            registry,
            places=PlaceLedger(lambda: None) if places is None else places,
            tally=tally,
            clock=clock,
        )
        self.accept_balance = AcceptBalance(lambda: len(registry), clock=clock)
        self.notices = Notices(listeners, tally=tally, clock=clock)

        def time_of_log() -> float:
            return time_of_day() + broker.clock_ahead

        self.history = History(options.memory, clock=time_of_log)
        self.progress = DeliveryProgress(self.history)
        self.waking = Waking(registry)
        self.ends = Ends(self.progress, registry, self.waking)
        self.folds = Folds()
        self.members = Members(append=broker.publish)
        self.folds.add(self.members)
        hooks = hooks or {}
        self.hooks = HookKeeper(
            self.members,
            urls=tuple(hooks),
            append=broker.publish,
            is_draining=lambda: self.admission.closed,
            tally=tally,
            clock=clock,
            time_of_log=time_of_log,
        )
        self.couriers = [
            Courier(
                url, send, self.hooks, append=broker.publish, tally=tally, clock=clock
            )
            for url, send in hooks.items()
        ]
        self.roster = Roster(
            options,
            self.members,
            append=broker.publish,
            is_draining=lambda: self.admission.closed,
            announcer=Announcer(
                tell=self.notices.tell, arrivals=arrivals, hooks=self.hooks
            ),
            clock=clock,
            time_of_day=time_of_day,
        )
        self.subscriptions = Subscriptions(
            registry,
            self.ends,
            max_channels=options.max_channels,
            moved=self.roster.moved,
        )
        if options.presence:
            self.members.serve(self.roster)
            self.folds.add(self.roster.fold)
        if hooks:
            self.members.serve(self.hooks)
            self.members.before_leaving(self.hooks.write_all)
            # After the presence, which notes the hooks of changes that it has read.
            self.folds.add(self.hooks.book)
        self.clerk = Clerk(
            self.members.own_id,
            broker=broker,
            progress=self.progress,
            registry=registry,
            roster=self.roster,
            grace=options.presence_grace,
            tell=self.notices.tell,
            unheard=unheard,
            clock=clock,
        )
        self.folds.add(self.clerk.fold)
        self.members.before_leaving(self.clerk.report_all)
        self.dispatcher = Dispatcher(
            self.progress,
            registry,
            self.ends,
            self.subscriptions,
            self.waking,
            self.clerk,
            broker=broker,
            tally=tally,
            clock=clock,
        )
        self.backlog = Backlog(
            broker, tally=tally, clock=clock, time_of_day=time_of_log
        )
        self.catchup = Catchup(
            self.progress,
            broker,
            self.backlog,
            enter=self.dispatcher.enter,
            listing=self.roster.listing,
            tally=tally,
            clock=clock,
        )
        self.journal = Journal(
            seconds=options.memory.seconds, clock=clock, time_of_day=time_of_day
        )
        self.lifecycle = Lifecycle(
            options,
            registry,
            self.admission,
            self.accept_balance,
            self.notices,
            self.dispatcher,
            self.ends,
            self.catchup,
            self.roster,
            note_end=lambda client, reason: self.journal.note_end(
                client, reason, self.progress.position
            ),
            clock=clock,
        )
        self.deafness = Deafness(self.progress)
        self.writer = Writer(
            self.dispatcher,
            self.catchup,
            registry,
            ends=self.lifecycle,
            tally=tally,
            clock=clock,
            time_of_day=time_of_day,
        )
        self.follower = Follower(
            broker,
            self.dispatcher,
            self.backlog,
            self.ends,
            self.folds,
            memory_bytes=options.memory.bytes,
        )

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that wait for work."""
        tasks: dict[str, Task] = {"follower": self.follower.run}
        if self.options.presence:
            tasks["presence"] = self.roster.run
        if self.couriers:
            tasks["hooks"] = self.hooks.run
        for number, courier in enumerate(self.couriers, 1):
            tasks[f"courier {number}"] = courier.run
        return tasks

    @property
    def tasks_by_clock(self) -> dict[str, Task]:
        """The tasks that wait for moments of the clock."""
        tasks: dict[str, Task] = {"members": self.members.run}
        if self.options.presence:
            tasks["presence clock"] = self.roster.tick
        tasks["receipts"] = self.clerk.run
        return tasks

    def wake(self) -> None:
        """Have the tasks that wait for work see whether they have to end."""
        self.roster.wake()
        self.hooks.wake()
