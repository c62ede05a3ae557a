"""``flask sse record``: what a user was sent, as a script for ``flask sse mock``.

A thin layer over the log and the workers' journals.
"""

import json
import math
from collections.abc import Iterator, Sequence

import click
from flask.cli import AppGroup

from ..brokers import Broker
from ..errors import BrokerUnavailable, InvalidName
from ..events import address
from ..events.address import BROADCAST, Address
from ..events.channel_patterns import checked_subscription, heard_at
from ..events.record import Cursor, Record
from ..hub.clients.journal import StreamLife
from ..metrics.lives import MachineLives
from ..metrics.machine import Machine
from .app_state import AppState
from .numbers import Number
from .printing import printable, time_of

# Records of one read from the log.
_PAGE = 500

_MOST_MINUTES = 1440.0


def add_record_command(group: AppGroup, state: AppState) -> None:
    """Add the command to an app's group."""

    @group.command()
    @click.option("--user", required=True, help="The id of the user.")
    @click.option(
        "--minutes",
        type=Number(min=0, max=_MOST_MINUTES, min_open=True),
        default=5.0,
        show_default=True,
        help="How far to go back.",
    )
    @click.option("--client", help="Record the page with this client id.")
    @click.option(
        "--channel",
        multiple=True,
        help="Also the events of this channel, if no stream of the user is known.",
    )
    @click.option("--payloads", is_flag=True, help="Write data as it was sent.")
    def record(
        user: str,
        minutes: float,
        client: str | None,
        channel: tuple[str, ...],
        payloads: bool,
    ) -> None:
        """Write what a user was sent as a script for `flask sse mock`.

        The script has the events of one page in the past minutes, with the gaps between
        them, and the ends of its streams. Data is masked. What is missing is told on
        standard error. The streams are those of this machine's workers: run the command
        as the user of the server.
        """
        if state.broker.reach == "process":
            raise click.UsageError(
                "SSE_HUB_BROKER_URL = 'memory://' keeps everything within the server's"
                " process, which this command cannot reach"
            )
        since = state.time_of_day() - 60.0 * minutes
        lives = Machine(state.log_identity).lives(user)
        try:
            recording = _Recording(state.broker, state.config.retention.bytes, since)
            page = recording.page(user, lives, client, channel)
            lines = list(recording.lines(page, payloads=payloads))
            losses = dict.fromkeys(recording.losses(page))
        except BrokerUnavailable as error:
            raise click.ClickException(str(error)) from error
        except InvalidName as error:
            raise click.UsageError(str(error)) from error
        _tell_unknown(lives, since)
        for text in losses:
            _tell(text)
        if not lines:
            raise click.ClickException(
                f"user {user} was sent nothing in {minutes:g} minutes, as far as is"
                " known here"
            )
        for line in lines:
            click.echo(json.dumps(line))
        count = sum("data" in line for line in lines)
        _tell(f"{count} events since {time_of(since)}")
        if not payloads:
            _tell("data is masked: --payloads writes it as it was sent")


class _Recording:
    """The log since a time, and the streams that read it."""

    def __init__(self, broker: Broker, retained_bytes: int, since: float) -> None:
        self._broker = broker
        self._since = since
        self._retained = retained_bytes
        self._epoch = broker.head().epoch

    def page(
        self,
        user: str,
        lives: MachineLives,
        client: str | None,
        channels: Sequence[str],
    ) -> list[StreamLife]:
        """Return the streams of the page to record: the newest, or a client's.

        Without a known stream of the user it is a stream that heard everything that the
        user could hear.
        """
        from ..doctor.recording import pages_of

        known = [life for each in lives.found for life in each.lives]
        pages = [
            page
            for page in pages_of(known, place=self.place)
            if (page[-1].ended or self._since) >= self._since
        ]
        if client is not None:
            pages = [page for page in pages if client in {life.id for life in page}]
            if not pages:
                raise click.UsageError(
                    f"no stream of the client {client!r} and user {user} is known here"
                    " in these minutes"
                )
        if not pages:
            named = [address.channel(checked_subscription(each)) for each in channels]
            addresses = (*named, BROADCAST, address.user(user))
            _tell(
                f"no stream of user {user} is known here: the script has the events for"
                f" {', '.join([f'user={user}', 'everyone', *_named(channels)])}. Name"
                " further channels of the page by --channel"
            )
            return [self._assumed(user, addresses)]
        chosen = max(
            pages, key=lambda each: (each[-1].ended or math.inf, each[-1].opened)
        )
        for page in pages:
            if page is not chosen:
                _tell(f"user {user} had another page: --client {page[-1].id}")
        _tell(f"the page of the client {chosen[-1].id}, {len(chosen)} streams")
        return chosen

    def _assumed(self, user: str, addresses: tuple[Address, ...]) -> StreamLife:
        begun, last = self._tail(), self._broker.head()
        return StreamLife("", user, addresses, 0.0, str(begun), str(last))

    def _tail(self) -> Cursor:
        return self._broker.tail(self._retained)

    def place(self, event_id: str) -> int | None:
        """Return the offset of an id in this log, None for an id of another one."""
        cursor = Cursor.parse(event_id)
        cursor = None if cursor is None else self._broker.resolve(cursor)
        return cursor.offset if cursor and cursor.epoch == self._epoch else None

    def lines(
        self, page: Sequence[StreamLife], *, payloads: bool
    ) -> Iterator[dict[str, object]]:
        """Yield the lines of the script. Raises BrokerUnavailable."""
        from ..doctor.recording import script_of

        heard = {each for life in page for each in life.addresses}
        yield from script_of(
            page,
            (
                each
                for each in self._records(self._beginning(page))
                if not heard.isdisjoint(heard_at(each.addresses))
            ),
            since=self._since,
            place=self.place,
            payloads=payloads,
        )

    def _records(self, at: Cursor) -> Iterator[Record]:
        while (found := self._broker.replay(at, page=_PAGE)).cursor != at:
            yield from found.records
            at = found.cursor

    def _beginning(self, page: Sequence[StreamLife]) -> Cursor:
        """Return the place of the first event that may be told, or the oldest one."""
        begun = [each for life in page if (each := self.place(life.begun)) is not None]
        if begun:
            cursor = Cursor(self._epoch, min(begun))
            if self._broker.replay(cursor, page=1).gap is None:
                return cursor
        return self._tail()

    def losses(self, page: Sequence[StreamLife]) -> Iterator[str]:
        """Yield the reasons for which the script lacks events. May repeat itself."""
        oldest = next((each.time for each in self._records(self._tail())), math.inf)
        for life in page:
            begun = self.place(life.begun)
            if begun is None:
                yield f"the stream opened {time_of(life.opened)} followed another log"
            elif self._lacks(Cursor(self._epoch, begun), life.addresses, oldest):
                yield (
                    "the log does not have all events of this page any more"
                    " (SSE_HUB_HISTORY_EVENTS, SSE_HUB_HISTORY_SECONDS, a ttl)"
                    + (
                        ""
                        if oldest <= self._since or oldest == math.inf
                        else f": it begins {time_of(oldest)}"
                    )
                )

    def _lacks(self, at: Cursor, addresses: Sequence[Address], oldest: float) -> bool:
        """Tell whether events of the recorded time were trimmed after a place."""
        found = self._broker.replay(at, page=1)
        if found.gap is not None and oldest <= self._since:
            # The earlier events were trimmed, and would not be recorded.
            at = self._tail()
            found = self._broker.replay(at, page=1)
        if found.gap is None and found.missed <= at.offset:
            return False
        return self._broker.bridge(at, addresses) is None


def _named(channels: Sequence[str]) -> list[str]:
    return [f"channel={name}" for name in channels]


def _tell_unknown(lives: MachineLives, since: float) -> None:
    for each in lives.found:
        if each.since > since:
            _tell(
                f"worker {each.worker} knows no streams that ended before"
                f" {time_of(each.since)}"
            )
        if each.is_cut:
            _tell(f"worker {each.worker} tells its newest {len(each.lives)} streams")
    for number in lives.silent:
        _tell(f"worker {number} gave no answer: it is stopped, or too busy")


def _tell(text: str) -> None:
    click.echo(printable(text), err=True)
