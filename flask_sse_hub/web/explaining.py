"""``flask sse explain``: why an event did not arrive at a user.

A thin layer over the log, the app's rules and the workers' journals.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from flask.cli import AppGroup

from ..errors import BrokerUnavailable
from ..events import address
from ..events.event import Event
from ..events.record import Cursor, Record, is_beyond
from ..metrics.machine import Machine
from ..runtime import tracing
from .app_state import AppState
from .printing import printable, time_of

# Records of one read from the log.
_PAGE = 500


def add_explain_command(group: AppGroup, state: AppState) -> None:
    """Add the command to an app's group."""

    @group.command()
    @click.argument("event_id")
    @click.option("--user", required=True, help="The id of the user.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    def explain(event_id: str, user: str, as_json: bool) -> None:
        """Tell why an event did, or did not, arrive at a user.

        EVENT_ID is the id that publish() returned, or that `flask sse listen` prints.
        The streams are those of this machine's workers. Run it as the user of the
        server.
        """
        from ..doctor.explanation import conclusion, heard_by, unknown, verdicts

        if state.broker.reach == "process":
            raise click.UsageError(
                "SSE_HUB_BROKER_URL = 'memory://' keeps everything within the server's"
                " process, which this command cannot reach"
            )
        try:
            record = _record(state, event_id)
        except BrokerUnavailable as error:
            raise click.ClickException(str(error)) from error
        lives = Machine(state.log_identity).lives(user)
        found = verdicts(record, lives.found)
        heard = heard_by(record, user)
        channels = dict(_channels(state, record, user))
        doubts = unknown(
            record,
            lives.found,
            silent=bool(lives.silent),
            elsewhere=state.broker.reach == "network",
        )
        verdict = conclusion(
            found, addressed=bool(heard), user=user, record=record, doubts=doubts
        )
        since = {each.worker: each.since for each in lives.found}
        place = record.traceparent
        trace = None if place is None else tracing.trace_id(place)
        if as_json:
            shown = {
                "id": str(record.cursor),
                "time": record.time,
                "type": _type_of(record),
                "targets": address.told(record.addresses),
                "trace": trace,
                "addressed": bool(heard),
                "channels": channels,
                "streams": [asdict(each) for each in found],
                "known_since": since,
                "cut": [each.worker for each in lives.found if each.is_cut],
                "silent": list(lives.silent),
                "unknown": doubts,
                "conclusion": verdict,
            }
            click.echo(json.dumps(shown))
            return
        targets = " ".join(address.told(record.addresses))
        _say(f"event {record.cursor} ({_type_of(record)})")
        _say(f"published {time_of(record.time)} to {targets}")
        if trace is not None:
            _say(f"published in the trace {trace}")
        for name, answer in channels.items():
            _say(f"channel {name}: {answer}")
        for each in found:
            end = "open" if each.ended is None else f"ended {time_of(each.ended)}"
            _say(
                f"worker {each.worker}  stream {each.stream}  opened"
                f" {time_of(each.opened)}, {end}: {each.text}"
            )
        for worker, begun in since.items():
            if begun > record.time:
                when = time_of(begun)
                _say(f"worker {worker} knows no streams that ended before {when}")
        for one in lives.found:
            if one.is_cut:
                _say(f"worker {one.worker} tells its newest {len(one.lives)} streams")
        if not since:
            _say("no worker of this app answers on this machine")
        for number in lives.silent:
            _say(f"worker {number} gave no answer: it is stopped, or too busy")
        _say(f"=> {verdict}")


def _say(text: str) -> None:
    click.echo(printable(text))


def _record(state: AppState, event_id: str) -> Record:
    """Return an event of the log.

    Raises UsageError, ClickException and BrokerUnavailable.
    """
    cursor = Cursor.parse(event_id)
    if cursor is None or cursor.offset == 0:
        raise click.UsageError(
            f"{event_id!r} is not an event id: pass an id that publish() has returned,"
            " or that `flask sse listen` has printed"
        )
    broker = state.broker
    cursor = broker.resolve(cursor)
    # A place before the event may be none that the broker knows: the search begins at
    # the oldest one.
    place = broker.tail(state.config.retention.bytes)
    while (page := broker.replay(place, page=_PAGE)).cursor != place:
        for record in page.records:
            if record.cursor == cursor and isinstance(record.content, Event):
                return record
        if page.gap is None and not is_beyond(cursor, page.cursor):
            break
        place = page.cursor
    if is_beyond(cursor, broker.head()):
        raise click.ClickException(f"the log has no event {event_id} yet")
    raise click.ClickException(
        f"the log has no event {event_id} any more: its history is over"
        " (SSE_HUB_HISTORY_EVENTS, SSE_HUB_HISTORY_SECONDS), its ttl, or the log was"
        " replaced"
    )


def _channels(state: AppState, record: Record, user: str) -> Iterator[tuple[str, str]]:
    """Yield each channel of an event, and whether it is open to the user now."""
    for each in record.addresses:
        name = address.channel_of(each)
        if name is None:
            continue
        try:
            is_open = state.access.is_open_to(user, name)
        except Exception as error:  # noqa: BLE001 - the app's rule may raise anything
            yield name, f"the app's rule cannot be asked here: {error!r:.200}"
        else:
            yield name, "open to the user" if is_open else "not open to the user"


def _type_of(record: Record) -> str:
    return record.content.type if isinstance(record.content, Event) else ""
