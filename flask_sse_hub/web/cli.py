"""``flask sse``: publishing, listening, tokens, the browser client, a mock server.

A thin layer over the extension. ``operating`` has the commands for people on call, and
``describing`` those for programs.
Decides which lines go to standard output, for programs and pipes, and which to standard
error, for people.
"""

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import click
from flask.cli import AppGroup

from ..brokers import LogBatch
from ..errors import BrokerUnavailable, InvalidOption, SSEHubError
from ..events import address
from ..events.address import UNSET, Address
from ..events.event import MESSAGE, Event
from ..events.record import Cursor, Record
from . import client_package, tokens
from .app_state import AppState
from .describing import add_types_command
from .explaining import add_explain_command
from .operating import add_commands
from .planning import add_plan_command
from .printing import printable, printable_json
from .recording import add_record_command

_KINDS = ("channel", "user", "session", "client")


def _target_options(command: Any) -> Any:
    for kind in reversed(_KINDS):
        command = click.option(
            f"--{kind}", multiple=True, help=f"A target {kind}. May be repeated."
        )(command)
    return command


def create_group(sse_hub: Any, state: AppState) -> AppGroup:
    """Return the commands of one app. ``sse_hub`` is the app's SSEHub."""
    group = AppGroup("sse", help="Publish and listen to server-sent events.")

    @group.command()
    @click.argument("data", required=False)
    @click.option("--type", default=MESSAGE, help="The event's type.")
    @click.option(
        "--exclude-client",
        multiple=True,
        help="A client that does not receive the event. May be repeated.",
    )
    @click.option(
        "--retry",
        type=float,
        help="A reconnect delay for the receiving clients, in seconds.",
    )
    @click.option(
        "--idempotency-key",
        help="Publish only once for this key, even if the command runs again.",
    )
    @click.option("--key", help="The key of which the event is the value.")
    @click.option("--delete", is_flag=True, help="End the value of the key instead.")
    @click.option("--ttl", type=float, help="For how many seconds the event is of use.")
    @_target_options
    def publish(data: str | None, **options: Any) -> None:
        """Publish DATA and print the event's id.

        Without DATA, or with -, the data is read from standard input, without its last
        newline. Without a target, every connected client receives the event.
        """
        for kind in _KINDS:
            options[kind] = options[kind] or UNSET
        if options["ttl"] is None:
            options["ttl"] = UNSET
        if state.broker.reach == "process":
            raise click.UsageError(_NOT_SHARED)
        if data is None or data == "-":
            data = _read_all(sys.stdin)
            if not data:
                raise click.UsageError(
                    "standard input is empty: pass DATA, or pipe the data in"
                )
        _warn_of_broken_json(data)
        try:
            click.echo(sse_hub.publish(data, **options))
        except SSEHubError as error:
            raise click.ClickException(str(error)) from error
        finally:
            state.broker.close()

    @group.command()
    @click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object per line."
    )
    @click.option(
        "--last-event-id",
        help="Begin after the event with this id, instead of with new events.",
    )
    @_target_options
    def listen(as_json: bool, last_event_id: str | None, **targets: Any) -> None:
        """Print events as they are published.

        With targets, print only the events that are published to one of them; events
        for everyone are then left out. After an outage of the broker the command
        continues by itself. To continue after it was stopped, pass the last printed id
        as --last-event-id.
        """
        if state.broker.reach == "process":
            raise click.UsageError(_NOT_SHARED)
        try:
            wanted = _wanted(targets)
            _listen(state, _start(state, last_event_id), wanted, as_json=as_json)
        except KeyboardInterrupt:
            return
        except SSEHubError as error:
            raise click.ClickException(str(error)) from error

    @group.command()
    @click.option(
        "--channel",
        multiple=True,
        help="A glob pattern of allowed channels. May be repeated.",
    )
    @click.option(
        "--target",
        multiple=True,
        type=click.Choice(tokens.KINDS),
        help="An allowed kind of target. May be repeated.",
    )
    @click.option(
        "--type",
        multiple=True,
        help="A glob pattern of allowed event types. May be repeated.",
    )
    @click.option(
        "--rate", help="How many events one worker takes, such as 100/minute."
    )
    @click.option(
        "--share", type=float, help="The part of the log it may fill, such as 0.1."
    )
    @click.option("--name", help="The token's name in log lines.")
    def token(
        channel: tuple[str, ...],
        target: tuple[str, ...],
        type: tuple[str, ...],
        rate: str,
        share: float | None,
        name: str,
    ) -> None:
        """Create a token for publishing over HTTP.

        Print two lines. The first is the token itself: give it to the publisher, it is
        not stored anywhere. The second is the value for SSE_HUB_PUBLISH_TOKENS, in JSON
        and with the token's hash.

        With --channel the token may publish to matching channels, with --target to the
        given kinds of targets. With neither it may publish to every target. In patterns
        * matches any text, also dots.
        """
        made, digest = tokens.mint()
        entry = {
            "token": digest,
            "channels": channel,
            "targets": target,
            "types": type,
            "rate": rate,
            "share": share,
            "name": name,
        }
        entry = {key: value for key, value in entry.items() if value}
        try:
            tokens.read_tokens(entry)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        click.echo("Token for the publisher, shown only this once:", err=True)
        click.echo(made)
        click.echo(
            "SSE_HUB_PUBLISH_TOKENS, a list that can have more entries:", err=True
        )
        click.echo(json.dumps([entry]))

    @group.command()
    @click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
    def client(folder: Path) -> None:
        """Write the browser client into FOLDER, as an npm package for a bundler.

        Print the path of each written file. FOLDER is created if it does not exist.
        Files with other names in it are left alone. A folder with a package.json of
        another package is refused.

        `npm install FOLDER` then makes "sse-hub" importable.
        """
        try:
            written = client_package.write(folder)
        except InvalidOption as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise click.ClickException(
                f"the browser client cannot be written to {folder}: {error.strerror}"
            ) from error
        for path in written:
            click.echo(path)
        click.echo(f"the browser client of {_version()}", err=True)

    @group.command()
    @click.argument("url", required=False)
    def check(url: str | None) -> None:
        """Print what makes the streams of this app fail, and how to mend it.

        Without URL, the app's configuration is checked. With URL, such as
        http://127.0.0.1:8000, the server that runs there is asked too: only it knows
        its workers and threads.

        The exit status is 1 if there is a problem.
        """
        found = [problem.text for problem in state.problems.found()]
        if url is not None:
            found += _problems_of_server(
                url.rstrip("/") + state.config.url_prefix + "/health"
            )
        # A server that runs this app with this configuration repeats its problems.
        for text in dict.fromkeys(found):
            click.echo(printable(text))
        if found:
            sys.exit(1)
        click.echo("no problem was found", err=True)

    @group.command()
    @click.argument("script", type=click.File(encoding="utf-8-sig"))
    @click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        default=5001,
        show_default=True,
        help="The port; 0 chooses a free one.",
    )
    @click.option("--loop", is_flag=True, help="Start again at the script's end.")
    def mock(script: TextIO, port: int, loop: bool) -> None:
        """Serve a mock stream that plays SCRIPT, and print its address.

        Each client that connects receives the events of SCRIPT, until Ctrl-C stops the
        server. SCRIPT has one JSON object per line: {"data": ..., "type": ..., "id":
        ...}, {"wait": 1.5}, {"drop": true}, {"status": 503, "retry_after": 5},
        {"retry": 2} or {"comment": ...}.

        Use it to develop a front end before its server exists. Neither the app's views
        nor its hub are used.
        """
        # Imported here because a worker never needs a server of its own.
        from ..mock.server import make_mock_server

        try:
            server = make_mock_server(script.read(), port=port, loop=loop)
        except (SSEHubError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{script.name}:\n{error}") from error
        click.echo(f"http://{server.host}:{server.port}/events")
        click.echo(f"playing {script.name}; press Ctrl-C to stop", err=True)
        server.serve_forever()

    add_commands(group, sse_hub, state)
    add_explain_command(group, state)
    add_record_command(group, state)
    add_plan_command(group, state)
    add_types_command(group, state)
    return group


_NOT_SHARED = (
    "SSE_HUB_BROKER_URL = 'memory://' keeps events within the server's process, which"
    " this command cannot reach: set it to 'sqlite:///sse_hub.db' or the URL of a Redis"
)


# A health check waits for the broker, and may start a hub.
_HEALTH_SECONDS = 15.0


def _problems_of_server(url: str) -> list[str]:
    """Return the problems that a server's health check names."""
    # Imported here because a worker never needs it.
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        raise click.UsageError(
            f"{url!r} is not the address of a server, such as http://127.0.0.1:8000"
        )
    try:
        try:
            with urlopen(Request(url), timeout=_HEALTH_SECONDS) as answer:  # noqa: S310
                health = json.load(answer)
        except HTTPError as error:
            with error:
                health = json.load(error)
        reason = health.get("reason", "")
        return [*reason.splitlines(), *health.get("warnings", [])]
    except (URLError, OSError) as error:
        return [f"{url} cannot be reached: {error}"]
    except (ValueError, AttributeError):
        return [f"{url} does not answer as the health check of flask_sse_hub"]


def _read_all(stream: TextIO) -> str:
    # The last newline comes from the shell. It is not part of the data.
    return stream.read().removesuffix("\n")


def _warn_of_broken_json(data: str) -> None:
    """Print a warning if data begins like JSON but is not: a shell ate its quotes."""
    if not data.lstrip().startswith(("{", "[")):
        return
    try:
        json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        click.echo(
            f"warning: the data begins like JSON and is not JSON ({error}). It is"
            " published as text. In a shell, put JSON into single quotes",
            err=True,
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _wanted(targets: dict[str, Any]) -> set[Address] | None:
    given = {kind: names for kind, names in targets.items() if names}
    return set(address.target(**given)) if given else None


def _start(state: AppState, last_event_id: str | None) -> Cursor:
    broker = state.broker
    if last_event_id is None:
        return broker.head()
    cursor = Cursor.parse(last_event_id)
    if cursor is None:
        raise click.UsageError(
            f"{last_event_id!r} is not an event id: pass an id that `flask sse listen`"
            " or `flask sse publish` has printed"
        )
    try:
        broker.head()
    except BrokerUnavailable as error:
        click.echo(
            f"waiting for the broker, which cannot be reached: {error}", err=True
        )
    return broker.resolve(cursor)


def _listen(
    state: AppState, start: Cursor, wanted: set[Address] | None, *, as_json: bool
) -> None:
    for batch in state.broker.follow(start):
        if batch.gap is not None:
            _print_gap(batch, as_json=as_json)
        if batch.malformed:
            click.echo(f"{batch.malformed} entries could not be read", err=True)
        for record in batch.records:
            if wanted is None or not wanted.isdisjoint(record.addresses):
                _print_record(record, as_json=as_json)
        sys.stdout.flush()


def _print_gap(batch: LogBatch, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"reset": batch.gap, "id": str(batch.cursor)}))
    else:
        click.echo(
            f"reset: {batch.gap}; events are missing, continuing after {batch.cursor}",
            err=True,
        )


def _print_record(record: Record, *, as_json: bool) -> None:
    event = record.content
    if not isinstance(event, Event):
        return
    heard = [each for each in record.addresses if not address.is_internal(each)]
    if record.addresses and not heard:
        return
    target = address.names_of(heard)
    if as_json:
        shown = {
            "id": str(record.cursor),
            "time": record.time,
            "type": event.type,
            "data": event.data,
            "target": target,
        }
        if record.key is not None:
            shown |= {"key": record.key, "deleted": record.deletes}
        if record.ttl is not None:
            shown["ttl"] = record.ttl
        click.echo(printable_json(json.dumps(shown, ensure_ascii=False)))
        return
    at = datetime.fromtimestamp(record.time).astimezone().strftime("%H:%M:%S")
    whom = " ".join(_described(target)) or "nobody"
    click.echo(printable(f"{at} {record.cursor} {event.type} to {whom}: {event.data}"))


def _described(target: dict[str, list[str]] | str) -> Iterable[str]:
    if isinstance(target, str):
        return [target]
    return [f"{kind}={name}" for kind, names in target.items() for name in names]


def _version() -> str:
    name = "flask-sse-hub"
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        # The package runs from its sources and is not installed.
        return f"{name}, from a checkout"
