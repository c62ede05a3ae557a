"""The benchmarks page of the docs and its tables, generated from the results only."""

import os
import platform
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import plots
from benchmarks.compare.results import Cell, Results
from benchmarks.compare.scenarios import JSON_SIZES, SCENARIOS, SIZE, SIZES, STORM
from flask_sse_hub.hub.options import HubOptions

DOCS = Path(__file__).parents[2] / "docs"

_HEAD = """# Benchmarks

`make bench` writes this page; do not edit it. All servers ran on one machine, in turn.
Number of rounds: {rounds}. Each figure is the median of the rounds, with the lowest and
the highest in brackets. Read the ratios: they are comparable between machines, the
times are not. [benchmarks/README.md](../benchmarks/README.md) describes the method.

{picture}
{machine}
"""

# `make bench` draws it from the first table.
_PICTURE = """![CPU time per delivery: bars for a loop in C, flask_sse_hub, nchan, \
better-sse, sse-starlette and Flask-SSE](pictures/cpu-per-delivery.svg)
"""

_CAVEATS = """## Limits of these results

* Clients and servers share the machine's cores and talk over the loopback, so the work
  of a network card is missing. The speed at which the clients read affects the cost of
  the servers, most of all in a burst: a server may write to a socket again before or
  after the client has read it.
* Every server has one worker. The floor has no ids, history, resume, limits or queues.
  Flask-SSE, Flask-SocketIO, sse-starlette and better-sse, as set up here, keep no
  history from which a client could resume.
* An event has {size} bytes of data. Heartbeats are at each server's default, which is
  none for nginx + nchan and Flask-SSE.
* Publishing is part of the cost. flask_sse_hub has stored an event in an SQLite file
  when its publisher receives the answer.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, and a function for the cell in a server's row."""

    head: str
    cell: Callable[[Results, Cell], str]


def figure(head: str, key: str, *, digits: int = 1, spread: bool = False) -> Column:
    """Return a column of medians; with ``spread``, also the lowest and the highest."""

    def cell(results: Results, cell: Cell) -> str:
        median = results.median(cell, key)
        if median is None:
            return ""
        found = results.values(cell, key)
        text = f"{median:,.{digits}f}"
        if spread and len(found) > 1:
            text += f" ({min(found):,.{digits}f} - {max(found):,.{digits}f})"
        return text

    return Column(head, cell)


def ratio(head: str, key: str, *, to: str, of: str | None = None) -> Column:
    """Return a column of ratios to the median of the server ``to``.

    ``of`` limits the column to one server.
    """

    def cell(results: Results, cell: Cell) -> str:
        if of is not None and cell[1] != of:
            return ""
        found = results.ratio(cell, key, to=to)
        return "" if found is None else f"{found:.2f}"

    return Column(head, cell)


@dataclass(frozen=True, slots=True)
class Section:
    """One table: the servers of some scenarios, with a text and columns."""

    title: str
    scenarios: tuple[str, ...]
    text: str
    columns: tuple[Column, ...]
    #: The name of its plot, if it has one.
    plot: str | None = None


_COMPRESSED_FROM = HubOptions().compress_min_bytes


def _compression(size: int) -> Section:
    """Return the table of events of one size."""
    return Section(
        f"Compression: JSON events of {size:,} bytes",
        ("compression",),
        "One event at a time to 5,000 clients, which all request the same content"
        " coding. Each event is compressed once for all of them. *Bytes* are those of"
        " the stream, with the event's id and type. This benchmark compresses events of"
        f" every size; by default, events of at least {_COMPRESSED_FROM} bytes are"
        " compressed.",
        (
            _CLIENTS,
            figure("bytes of an event", f"bytes_{size}", digits=0),
            ratio("x uncompressed", f"bytes_{size}", to="identity"),
            figure("CPU µs per delivery", f"delivery_us_{size}", spread=True),
            ratio("CPU x uncompressed", f"delivery_us_{size}", to="identity"),
        ),
    )


_CLIENTS = figure("clients", "clients", digits=0)
_DELIVERY = (
    figure("CPU µs per delivery", "delivery_us", spread=True),
    ratio("x floor", "delivery_us", to="floor"),
    ratio("x nchan", "delivery_us", to="nchan"),
)
_LAST = (
    figure("ms to the last client, p50", "last_p50_ms"),
    figure("p99", "last_p99_ms"),
    ratio("p99 x nchan", "last_p99_ms", to="nchan"),
)

SECTIONS = (
    Section(
        "One event at a time to 5,000 idle clients",
        ("paced",),
        "Each event is published when every client has received the previous one, so"
        " each write finds an empty socket. *To the last client*: from just before the"
        " publish until the bytes reach the last client. *x queues*: beside an app by"
        " hand on the same server, which has a generator and a queue for each client.",
        (
            _CLIENTS,
            *_DELIVERY,
            ratio("x queues", "delivery_us", to="queues", of="generator"),
            *_LAST,
        ),
        plot="latency",
    ),
    Section(
        "500 events at once to 1,000 clients",
        ("burst",),
        "One request to an app that publishes 500 times. nchan takes one event per"
        " request, so it receives 500 requests on one connection, without waiting for"
        " answers. The floor makes one write for each event; flask_sse_hub may join"
        " the events that wait for a client. Slow servers are given fewer events."
        " *Until all events arrived*: from just before the first publish until every"
        " client has all events.",
        (
            _CLIENTS,
            figure("events", "events", digits=0),
            *_DELIVERY,
            figure("ms until all events arrived", "whole_ms"),
        ),
    ),
    Section(
        "15,000 clients in one worker",
        ("many",),
        "One event at a time, as in the first table.",
        (_CLIENTS, *_DELIVERY, *_LAST),
        plot="delivery",
    ),
    Section(
        "Events of different sizes",
        ("sizes",),
        "One event at a time to 1,000 clients: CPU µs per delivery, by the bytes of the"
        " event's data. Publishing is part of the cost. A write of more than 64 kB does"
        " not fit into the kernel's buffer for a client, which has to read first.",
        (
            _CLIENTS,
            *(
                column
                for size in SIZES
                for column in (
                    figure(f"{size:,} bytes", f"delivery_us_{size}"),
                    ratio("x floor", f"delivery_us_{size}", to="floor"),
                )
            ),
        ),
    ),
    Section(
        "One of 1,000 channels",
        ("channels",),
        "5,000 clients on 1,000 channels, 5 per channel. Each of 500 events goes to one"
        " channel and is published by its own request. For comparison, the same events"
        " go to 5 clients on the only channel. Both figures include one publish for"
        " every 5 deliveries; *without clients* is the cost of a publish alone.",
        (
            figure("CPU µs per delivery, only channel", "alone_us"),
            figure("one of 1,000", "among_us"),
            figure("ratio", "ratio", digits=2, spread=True),
            figure("CPU µs per event without clients", "nobody_us"),
        ),
    ),
    Section(
        "A storm of 5,000 connects",
        ("paced",),
        f"At any time, {STORM} clients have connected and wait for the head of their"
        " stream.",
        (
            figure("CPU µs per connect", "connect_us", spread=True),
            ratio("x floor", "connect_us", to="floor"),
            ratio("x nchan", "connect_us", to="nchan"),
            ratio("x better-sse", "connect_us", to="better-sse"),
            figure("connects per second", "connects_per_second", digits=0),
            figure("ms to the first byte, p99", "first_byte_p99_ms"),
        ),
    ),
    Section(
        "Ordinary requests during a fan-out",
        ("requests",),
        "`GET /` 40 times a second, each on its own connection, while events are fanned"
        " out without a pause. *Never yielding* is a hub that finishes each event"
        " before it does anything else, as the floor does.",
        (
            _CLIENTS,
            figure("ms of a request before, p50", "quiet_p50_ms"),
            figure("during, p50", "p50_ms"),
            figure("during, p99", "p99_ms", spread=True),
            figure("deliveries per second", "deliveries_per_second", digits=0),
            ratio(
                "x never yielding",
                "deliveries_per_second",
                to="unyielding",
                of="socket",
            ),
        ),
        plot="requests",
    ),
    Section(
        "Memory of idle clients",
        ("paced", "memory"),
        "The growth of the processes (PSS of the whole tree) when clients connect and"
        " have received one event. Each client that is logged in is a separate user"
        " with a separate session, and listens to user, session and client addresses.",
        (_CLIENTS, figure("KiB per client", "memory_kib", digits=2, spread=True)),
        plot="memory",
    ),
    *map(_compression, JSON_SIZES),
)


def tables(results: Results) -> str:
    """Return the sections that have figures."""
    return "".join(_section(results, each) for each in SECTIONS)


def _section(results: Results, section: Section) -> str:
    rows, failures = [], []
    for scenario in SCENARIOS:
        for kind in scenario.peers if scenario.name in section.scenarios else ():
            cell = (scenario.name, kind.name)
            if cell in results.failures:
                why = results.failures[cell].splitlines()[0]
                failures.append(f"{kind.label} failed: {why}\n\n")
            elif cell in results.figures:
                found = [column.cell(results, cell) for column in section.columns]
                if any(found):
                    rows.append([kind.label, *found])
    if not rows and not failures:
        return ""
    head = ["", *(column.head for column in section.columns)]
    # Leave out the columns in which no server has a figure.
    used = [n for n in range(len(head)) if n == 0 or any(row[n] for row in rows)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "".join(
        f"| {' | '.join(line[n] for n in used)} |\n" for line in lines if rows
    )
    text = "\n".join(textwrap.wrap(section.text, 88))
    return f"## {section.title}\n\n{text}\n\n{table}\n{''.join(failures)}"


def machine(results: Results) -> str:
    """Return a description of the machine, and the table of servers."""
    names = {"PRETTY_NAME": platform.system(), **platform.freedesktop_os_release()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    text = (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB,"
        f" {names['PRETTY_NAME']}, Linux {platform.release()},"
        f" Python {platform.python_version()}."
    )
    lines = [*textwrap.wrap(text, 88), "", "| server | versions | |", "|---|---|---|"]
    for label, version in results.versions.items():
        lines.append(f"| {label} | {version} | {_served(results, label)} |")
    lines += [
        f"| {label} | left out: {why} | |" for label, why in results.absent.items()
    ]
    return "\n".join(lines)


def _processor() -> str:
    """Return the name of the processor, or its architecture if the name is unknown."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _served(results: Results, label: str) -> str:
    """Return how a server delivered its streams in all scenarios, as it reports."""
    kinds = {kind.name: kind.label for each in SCENARIOS for kind in each.peers}
    ways = {
        way.split(" by ")[1]
        for (_, name), said in results.served.items()
        for way in said.split(", ")
        if kinds[name] == label and way
    }
    return f"streams went by {' and '.join(sorted(ways))}" if ways else ""


def page(results: Results) -> str:
    """Return the whole page."""
    head = _HEAD.format(
        rounds=results.rounds, machine=machine(results), picture=_PICTURE
    )
    sections = tables(results)
    for section in SECTIONS:
        if section.plot and f"## {section.title}\n" in sections:
            picture = f"![{section.title}](benchmarks-{section.plot}.svg)\n\n"
            title = f"## {section.title}\n\n"
            sections = sections.replace(title, title + picture)
    return f"{head}\n{sections}{_CAVEATS.format(size=SIZE)}"


def write(results: Results) -> None:
    """Write the page and its plots."""
    plots.draw(results, DOCS)
    (DOCS / "benchmarks.md").write_text(page(results))
