"""``flask sse doctor``, ``streams``, ``disconnect`` and ``top``: commands on call.

A thin layer over the doctor and the figures of the machine's workers.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from ..brokers import Broker
from ..errors import BrokerUnavailable, SSEHubError
from ..events.channel_patterns import covers
from ..metrics.figures import Figures, total
from ..metrics.machine import Machine, MachineFigures
from .app_state import AppState
from .doctor_facts import doctor_query
from .numbers import Number
from .printing import printable

# The doctor holds a stream a little longer than the first ping takes.
_MARGIN_SECONDS = 5.0


def add_commands(group: AppGroup, sse_hub: Any, state: AppState) -> None:
    """Add the commands to an app's group."""

    @group.command()
    @click.argument("url")
    @click.option(
        "--direct",
        metavar="URL",
        help="The server's own address, such as http://127.0.0.1:8000.",
    )
    @click.option(
        "--origin",
        metavar="ORIGIN",
        help="Examine streams for pages of this other origin.",
    )
    @click.option(
        "--wait",
        type=Number(min=0),
        help="How many seconds a silent stream is held. By default until its ping.",
    )
    @click.option(
        "--insecure", is_flag=True, help="Do not check the certificate of the server."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def doctor(
        url: str,
        direct: str | None,
        origin: str | None,
        wait: float | None,
        insecure: bool,
        as_json: bool,
    ) -> None:
        """Find the hop that holds streams back, or cuts them, and its cure.

        URL is the public address, such as https://app.example. The command publishes
        events to a stream of its own and times their way. With --direct it compares the
        public address with the server's own. Run it with the server's environment.

        The exit status is 1 if there is a fault.
        """
        from ..doctor.examination import AppShell, Examination, exit_status
        from ..doctor.findings import Finding

        for each in (url, direct):
            if each is not None and not each.startswith(("http://", "https://")):
                raise click.UsageError(
                    f"{each!r} is not an address, such as https://app.example"
                )
        found = [
            Finding("app", "app", problem.text, "The text says it.")
            for problem in state.problems.found()
        ]
        hops = []
        if current_app.secret_key and state.broker.reach != "process":
            found += _concerns(state.broker)
            heartbeat = state.config.heartbeat_interval
            examination = Examination(
                AppShell(
                    prefix=state.config.url_prefix,
                    query=lambda channel: doctor_query(state, channel),
                    publish=lambda text, channel: sse_hub.publish(
                        text, channel=channel
                    ),
                    epoch=lambda: _epoch(state.broker),
                    heartbeat=heartbeat,
                ),
                wait=heartbeat + _MARGIN_SECONDS if wait is None else wait,
                origin=origin,
                insecure=insecure,
                say=lambda text: click.echo(f"{text} ...", err=True),
            )
            try:
                near = None
                if direct is not None:
                    near = examination.look_at(direct, hold=False)
                public = examination.look_at(url)
                if direct is not None and public.cut_after is not None:
                    # Only now it matters whether the worker cuts streams by itself.
                    near = examination.look_at(direct)
            except BrokerUnavailable as error:
                text = f"this shell cannot publish a probe: {error}"
                cure = (
                    "Mend what the text names: a server that is away, a disk, or rights"
                    " (run this command as the server's user)."
                )
                found.append(Finding("broker-away", "log", text, cure))
            else:
                found += examination.findings(public, near)
                found += _cookies(origin, url)
                hops = [hop for hop in (near, public) if hop is not None]
        elif current_app.secret_key:
            found.append(
                Finding(
                    "memory",
                    "log",
                    "SSE_HUB_BROKER_URL = 'memory://' keeps events within one process:"
                    " neither this command nor another worker reaches it",
                    "SSE_HUB_BROKER_URL = 'sqlite:///sse_hub.db'",
                )
            )
        found.sort(key=lambda finding: finding.severity == "advice")
        if as_json:
            click.echo(
                json.dumps(
                    {
                        "findings": list(map(asdict, found)),
                        "hops": [hop.facts() for hop in hops],
                    }
                )
            )
        else:
            for finding in found:
                click.echo(
                    printable(
                        f"{finding.severity} at the {finding.hop}: {finding.text}"
                    )
                )
                click.echo(printable(f"  cure: {finding.cure}"))
            if not found:
                click.echo("no fault was found", err=True)
        sys.exit(exit_status(found))

    @group.command()
    @click.option("--user", help="Only the streams of this user.")
    @click.option("--channel", help="Only the streams that hear this channel.")
    @click.option("--json", "as_json", is_flag=True, help="Print one object per line.")
    def streams(user: str | None, channel: str | None, as_json: bool) -> None:
        """List the open streams of this machine's workers.

        Run it as the user of the server.
        """
        found = _figures(state, clients=True)
        for worker in found.workers:
            for client in worker.hub.clients:
                if user not in (None, client.user_id):
                    continue
                if channel is not None and not any(
                    covers(each, channel) for each in client.channels
                ):
                    continue
                if as_json:
                    shown = {"worker": worker.worker, **asdict(client)}
                    click.echo(json.dumps(shown))
                else:
                    click.echo(
                        printable(
                            f"worker {worker.worker}  {_age(client.age):>8}"
                            f"  {client.events:>7} events  {client.user_id or '-':<16}"
                            f"  {client.id}  {' '.join(client.channels)}"
                        )
                    )
        _tell_of_silent(found)

    @group.command()
    @click.option("--user", multiple=True, help="A user. May be repeated.")
    @click.option("--session", multiple=True, help="A session. May be repeated.")
    @click.option("--client", multiple=True, help="A client. May be repeated.")
    def disconnect(**targets: tuple[str, ...]) -> None:
        """End the streams of users, sessions or clients, on every worker.

        Their pages reconnect if they may still listen.
        """
        given = {kind: list(names) for kind, names in targets.items() if names}
        if not given:
            raise click.UsageError("name a --user, a --session or a --client")
        try:
            sse_hub.disconnect(**given)
        except SSEHubError as error:
            raise click.ClickException(str(error)) from error
        finally:
            state.broker.close()

    @group.command()
    @click.option(
        "--interval",
        type=Number(min=0.2),
        default=2.0,
        show_default=True,
        help="Seconds between two looks.",
    )
    @click.option("--once", is_flag=True, help="Print one table and end.")
    def top(interval: float, once: bool) -> None:
        """Show the workers of this machine as a table that updates itself.

        Ctrl-C ends it. Run it as the user of the server.
        """
        before: MachineFigures | None = None
        try:
            while True:
                found = _figures(state, clients=False)
                if not once:
                    click.clear()
                for line in _table(found, before, interval):
                    click.echo(printable(line))
                _tell_of_silent(found)
                if once:
                    return
                before = found
                time.sleep(interval)
        except KeyboardInterrupt:
            return


def _figures(state: AppState, *, clients: bool) -> MachineFigures:
    if state.broker.reach == "process":
        raise click.UsageError(
            "SSE_HUB_BROKER_URL = 'memory://' keeps everything within the server's"
            " process, which this command cannot reach"
        )
    found = Machine(state.log_identity).figures(clients=clients)
    if not found.workers and not found.silent:
        raise click.ClickException(
            "no worker of this app answers on this machine. A worker answers from its"
            " first stream or health check on. Run this command as the user of the"
            " server, with its environment and its folder for temporary files"
        )
    return found


def _tell_of_silent(found: MachineFigures) -> None:
    for number in found.silent:
        click.echo(
            f"worker {number} gave no answer: it is stopped, or too busy", err=True
        )


def _table(
    found: MachineFigures, before: MachineFigures | None, interval: float
) -> Iterator[str]:
    earlier = {} if before is None else {each.worker: each for each in before.workers}
    yield (
        f"{'worker':>6} {'pid':>8} {'streams':>8} {'users':>6} {'lagging':>7}"
        f" {'events/s':>9} {'KiB/s':>9} {'CPU':>5} {'MiB':>6}  state"
    )
    for each in found.workers:
        past = earlier.get(each.worker)
        if past is not None and past.process.pid != each.process.pid:
            past = None
        yield (
            f"{each.worker:>6} {each.process.pid:>8} {each.hub.connections:>8}"
            f" {each.hub.users:>6} {each.hub.lagging:>7}"
            f" {_rate(each, past, interval, 'events_out'):>9}"
            f" {_rate(each, past, interval, 'bytes_out', 1024):>9}"
            f" {_cpu(each, past, interval):>5}"
            f" {(each.process.resident_bytes or 0) // 2**20:>6}  {_state(each)}"
        )
    if found.workers:
        sums = total(found.workers)
        yield (
            f"{'all':>6} {'':>8} {sums.connections:>8} {sums.users:>6}"
            f" {sums.lagging:>7}   closed: {_words(sums.closed)}"
        )
        yield (
            f"refused: {_words(sums.refusals)}   resets: {_words(sums.resets)}"
            f"   broker errors: {_words(sums.broker_errors)}"
        )


def _rate(
    now: Figures, past: Figures | None, interval: float, name: str, unit: int = 1
) -> str:
    if past is None:
        return "-"
    risen = getattr(now.hub, name) - getattr(past.hub, name)
    return f"{risen / interval / unit:.1f}"


def _cpu(now: Figures, past: Figures | None, interval: float) -> str:
    if past is None:
        return "-"
    used = now.process.cpu_seconds - past.process.cpu_seconds
    return f"{100 * used / interval:.0f}%"


def _state(figures: Figures) -> str:
    if not figures.broker.up:
        return "broker away"
    if figures.broker.deaf_seconds:
        return f"deaf for {figures.broker.deaf_seconds:.0f} s"
    return "going away" if figures.hub.draining else "ready"


def _words(counts: Any) -> str:
    return " ".join(f"{word} {count}" for word, count in sorted(counts.items())) or "-"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def _epoch(broker: Broker) -> str:
    try:
        return broker.head().epoch
    except BrokerUnavailable:
        return ""


def _concerns(broker: Broker) -> Sequence[Any]:
    from ..doctor.findings import Finding

    return [
        Finding("broker", "log", text, cure, "advice")
        for text, cure in broker.concerns()
    ]


def _cookies(origin: str | None, url: str) -> Iterable[Any]:
    """Yield why pages of another site cannot log in by a cookie."""
    from urllib.parse import urlsplit

    from ..doctor.findings import Finding

    if origin is None or _site(urlsplit(origin).hostname) == _site(
        urlsplit(url).hostname
    ):
        return
    same_site = current_app.config["SESSION_COOKIE_SAMESITE"]
    if same_site != "None" or not current_app.config["SESSION_COOKIE_SECURE"]:
        yield Finding(
            "cookies",
            "app",
            f"{origin} is another site: its pages send the session's cookie only with"
            f" SameSite=None and Secure (SESSION_COOKIE_SAMESITE is {same_site!r})",
            "SESSION_COOKIE_SAMESITE = 'None' and SESSION_COOKIE_SECURE = True, or a"
            " ticket in the stream's URL",
            "advice",
        )


def _site(host: str | None) -> str:
    """Return roughly the site of a host: its last two labels."""
    return ".".join((host or "").split(".")[-2:])
