"""``flask sse plan``: the workers and machines that a load needs.

A thin layer over the measured constants, with the app's own limits.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from flask.cli import AppGroup

from ..doctor.capacity import MOST_CPU, Load, Plan, measured, plan
from .app_state import AppState
from .numbers import Number

# Clients that are away for this long, as during a deploy or a ride in a tunnel, should
# be able to resume.
_SHORT_REACH_SECONDS = 120.0


def add_plan_command(group: AppGroup, state: AppState) -> None:
    """Add the command to an app's group."""

    @group.command("plan")
    @click.option(
        "--streams",
        type=click.IntRange(min=1, max=100_000_000),
        required=True,
        help="Open streams at the peak.",
    )
    @click.option(
        "--events",
        type=Number(min=0, max=1_000_000),
        required=True,
        help="Events that are published in a second.",
    )
    @click.option(
        "--receivers",
        type=Number(min=0),
        help="Streams that receive an event, on average. By default all.",
    )
    @click.option(
        "--bytes",
        "size",
        type=click.IntRange(min=0),
        default=200,
        show_default=True,
        help="Bytes of data of an event.",
    )
    @click.option(
        "--connects",
        type=Number(min=0),
        help="Streams that are opened in a second. By default by their longest life.",
    )
    @click.option(
        "--workers",
        type=click.IntRange(min=1, max=10_000),
        help="Plan for this number of workers. By default as many as are needed.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    def plan_command(
        streams: int,
        events: float,
        receivers: float | None,
        size: int,
        connects: float | None,
        workers: int | None,
        as_json: bool,
    ) -> None:
        """Tell the CPU time, memory, descriptors and bandwidth of a load.

        The figures follow from constants that were measured with gunicorn's gevent
        worker, and from this app's settings. docs/capacity.md has the constants.
        """
        config = state.config
        if receivers is not None and receivers > streams:
            raise click.UsageError(
                f"--receivers {receivers:g} is more than --streams {streams}"
            )
        load = Load(
            streams=streams,
            events=events,
            receivers=streams if receivers is None else receivers,
            bytes=size,
            connects=streams / config.max_age if connects is None else connects,
            heartbeat=config.heartbeat_interval,
            history_events=config.history_events,
            history_seconds=config.history_seconds,
            history_bytes=config.history_bytes,
            memory_history_bytes=config.memory_history_bytes,
            max_clients=config.max_clients,
            workers=workers or 0,
        )
        found = plan(load, measured())
        if as_json:
            told = {"load": asdict(load), "plan": asdict(found)}
            click.echo(json.dumps(told))
            return
        for line in plan_lines(load, found):
            click.echo(line)


def plan_lines(load: Load, found: Plan) -> Iterator[str]:
    """Yield a plan as people read it."""
    each = "each worker"
    rows = [
        (
            "CPU of streams",
            f"{found.cpu_of_each:.0%} of a core",
            f"{found.cpu:.2f} cores",
        ),
        ("memory", _size(found.memory_of_each), _size(found.memory)),
        ("streams", f"{found.streams_of_each:,}", f"{load.streams:,}"),
        ("descriptors", f"{found.descriptors_of_each:,}", ""),
        (
            "to clients",
            _rate(found.sent / found.workers),
            _rate(found.sent),
        ),
    ]
    title = f"{found.workers} worker" + ("s" if found.workers > 1 else "")
    yield f"{title:<16}{each:>20}{'all':>16}"
    for name, one, every in rows:
        yield f"{name:<16}{one:>20}{every:>16}".rstrip()
    yield ""
    yield f"the CPU time is that of {found.requests:,.0f} empty requests a second"
    yield f"publishing takes {found.publish_cpu:.2f} cores, wherever it is done"
    yield f"history reaches back {found.reach_seconds:,.0f} s at this rate"
    yield f"an SQLite log has {_size(found.sqlite_bytes)}"
    yield (
        f"a Redis log has {_size(found.redis_memory)}, takes {found.redis_cpu:.0%} of a"
        f" core and sends {_rate(found.redis_sent)} to the workers"
    )
    yield f"after a restart of all, streams are back in {found.return_seconds:,.0f} s"
    yield from _advice(load, found)


def _advice(load: Load, found: Plan) -> Iterator[str]:
    if found.streams_of_each > load.max_clients:
        yield (
            f"=> SSE_HUB_MAX_CLIENTS allows {load.max_clients:,} streams in a worker:"
            " more workers"
        )
    if found.cpu_of_each > MOST_CPU:
        yield (
            f"=> streams take more than {MOST_CPU:.0%} of a core in each worker: more"
            " workers, or fewer events, since each worker reads every event"
        )
    if found.reach_seconds < _SHORT_REACH_SECONDS:
        yield (
            "=> clients that were away for longer than history reaches are reset: more"
            " SSE_HUB_HISTORY_EVENTS, or SSE_HUB_HISTORY_BYTES"
        )
    if found.redis_cpu > MOST_CPU:
        yield f"=> Redis takes more than {MOST_CPU:.0%} of its one core: fewer events"


def _size(count: float) -> str:
    if count < 1024**2:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:,.1f} MiB"


def _rate(bytes_: float) -> str:
    bits = bytes_ * 8
    return f"{bits / 1e3:.1f} kbit/s" if bits < 1e6 else f"{bits / 1e6:,.1f} Mbit/s"
