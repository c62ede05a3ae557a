"""The page of docs and its tables, from what has been measured and nothing else."""

import os
import platform
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import plots
from benchmarks.compare.results import Cell, Results
from benchmarks.compare.scenarios import JSON_SIZES, SCENARIOS, SIZE, STORM
from flask_sse_hub.hub.options import HubOptions

DOCS = Path(__file__).parents[2] / "docs"

_HEAD = """# Benchmarks

Made by `make bench`, never by hand. All servers on one machine, in turn, the number of
rounds: {rounds}. Each figure is their median, in brackets the lowest and the highest.
Read the ratios: they mean something on any machine, the times do not.
[benchmarks/README.md](../benchmarks/README.md) says how it is done.

{machine}
"""

_CAVEATS = """## What this does not say

* Clients and servers share the machine's cores and talk over the loopback: a network
  card's work is missing. How fast the clients read tells on what the servers pay, most
  of all in a burst, where a socket is written to again before it was read, or is not.
* One worker of everything. The floor has no ids, history, resume, limits or queues; of
  the others, Flask-SSE, sse-starlette and better-sse keep no history, as set up here,
  that a client could resume from.
* An event has {size} bytes of data. Keep-alives are at each server's default, which is
  none for nginx + nchan and Flask-SSE.
* Publishing is part of the cost. An event of ours is in an SQLite file when its
  publisher gets the answer.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what heads it, and what is in a server's row, if anything."""

    head: str
    cell: Callable[[Results, Cell], str]


def figure(head: str, key: str, *, digits: int = 1, spread: bool = False) -> Column:
    """Return a column of medians, with the lowest and the highest if asked for."""

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
    """Return a column of multiples of one server's median, for all or one other."""

    def cell(results: Results, cell: Cell) -> str:
        if of is not None and cell[1] != of:
            return ""
        found = results.ratio(cell, key, to=to)
        return "" if found is None else f"{found:.2f}"

    return Column(head, cell)


@dataclass(frozen=True, slots=True)
class Section:
    """One table: the servers of some scenarios, and what it says of them."""

    title: str
    scenarios: tuple[str, ...]
    text: str
    columns: tuple[Column, ...]
    #: The plot of it, if it has one.
    plot: str | None = None


_COMPRESSED_FROM = HubOptions().compress_min_bytes


def _compression(size: int) -> Section:
    """Return the table of events of one size."""
    return Section(
        f"Compression: JSON events of {size:,} bytes",
        ("compression",),
        "One event at a time to 5,000 clients, all of which ask for the same content"
        " coding. It is compressed once for all of them. *Bytes* are those of the"
        " stream, with the event's id and type. Here events of every size are"
        f" compressed; by default those of {_COMPRESSED_FROM} bytes and more are.",
        (
            _CLIENTS,
            figure("bytes of an event", f"bytes_{size}", digits=0),
            ratio("x as they are", f"bytes_{size}", to="identity"),
            figure("CPU µs per delivery", f"delivery_us_{size}", spread=True),
            ratio("CPU x as they are", f"delivery_us_{size}", to="identity"),
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
        "The next one is published when every client has got the last, so that each"
        " write finds an empty socket. *To the last client*: from just before the"
        " publish to the last one's bytes.",
        (_CLIENTS, *_DELIVERY, *_LAST),
        plot="latency",
    ),
    Section(
        "500 events at once to 1,000 clients",
        ("burst",),
        "One request to an app that publishes 500 times; nchan takes one event per"
        " request, so there they are 500 requests on one connection, none waiting for"
        " an answer. The floor makes one write of each event; ours may join what waits"
        " for a client. Slow servers get fewer events. *Until all have all*: from just"
        " before the first publish.",
        (
            _CLIENTS,
            figure("events", "events", digits=0),
            *_DELIVERY,
            figure("ms until all have all", "whole_ms"),
        ),
    ),
    Section(
        "15,000 clients in one worker",
        ("many",),
        "One event at a time again.",
        (_CLIENTS, *_DELIVERY, *_LAST),
        plot="delivery",
    ),
    Section(
        "One of 1,000 channels",
        ("channels",),
        "5,000 clients on 1,000 channels, 5 each, and 500 events, each to one channel"
        " and published by a request of its own; beside it the same events to 5 clients"
        " on the only channel there is. Both contain a publish for every 5 deliveries:"
        " *published to nobody* is what it takes alone.",
        (
            figure("CPU µs per delivery, only channel", "alone_us"),
            figure("one of 1,000", "among_us"),
            figure("ratio", "ratio", digits=2, spread=True),
            figure("CPU µs per event published to nobody", "nobody_us"),
        ),
    ),
    Section(
        "A storm of 5,000 connects",
        ("paced",),
        f"{STORM} clients at any time are between their connect and the head of their"
        " stream.",
        (
            figure("CPU µs per connect", "connect_us", spread=True),
            ratio("x floor", "connect_us", to="floor"),
            ratio("x nchan", "connect_us", to="nchan"),
            figure("connects per second", "connects_per_second", digits=0),
            figure("ms to the first byte, p99", "first_byte_p99_ms"),
        ),
    ),
    Section(
        "Ordinary requests during a fan-out",
        ("requests",),
        "`GET /` 40 times a second, each on a connection of its own, while events are"
        " fanned out without a pause. *Never yielding* is the hub told to finish each"
        " event before it does anything else, as the floor does.",
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
        "What the processes grow by (PSS of the whole tree) when clients connect and"
        " have got one event. Those that are logged in are each a user of its own with"
        " a session of its own: they listen to user, session and client addresses.",
        (_CLIENTS, figure("KiB per client", "memory_kib", digits=2, spread=True)),
        plot="memory",
    ),
    *map(_compression, JSON_SIZES),
)


def tables(results: Results) -> str:
    """Return the sections that there are figures for."""
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
    # A column that nobody has figures in would only be noise.
    used = [n for n in range(len(head)) if n == 0 or any(row[n] for row in rows)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "".join(
        f"| {' | '.join(line[n] for n in used)} |\n" for line in lines if rows
    )
    text = "\n".join(textwrap.wrap(section.text, 88))
    return f"## {section.title}\n\n{text}\n\n{table}\n{''.join(failures)}"


def machine(results: Results) -> str:
    """Return what it was run on, and which servers."""
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
    """Return the name of the processor, as far as the machine says it."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _served(results: Results, label: str) -> str:
    """Return the ways by which a server says its streams went, in all scenarios."""
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
    head = _HEAD.format(rounds=results.rounds, machine=machine(results))
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
