"""``flask sse``: publishing, listening, tokens, the browser client, a mock server.

A thin layer over the extension; what is printed for whom is decided here.
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
from ..errors import BrokerUnavailable, SSEHubError
from ..events import address
from ..events.address import UNSET, Address
from ..events.event import MESSAGE, Event
from ..events.record import Cursor, Record
from . import client_script, tokens
from .app_state import AppState

_KINDS = ("channel", "user", "session", "client")


def _target_options(command: Any) -> Any:
    for kind in reversed(_KINDS):
        command = click.option(
            f"--{kind}", multiple=True, help=f"A {kind}; may be given several times."
        )(command)
    return command


def create_group(sse_hub: Any, state: AppState) -> AppGroup:
    """Return the commands of one app; ``sse_hub`` is what its views publish with."""
    group = AppGroup("sse", help="Publish and listen to server-sent events.")

    @group.command()
    @click.argument("data", required=False)
    @click.option("--type", default=MESSAGE, help="The event's type.")
    @click.option("--exclude-client", multiple=True, help="A client that is left out.")
    @click.option("--retry", type=float, help="A reconnect delay, in seconds.")
    @click.option("--idempotency-key", help="Publish once, however often this runs.")
    @_target_options
    def publish(data: str | None, **options: Any) -> None:
        """Publish DATA and print the event's id.

        Without DATA, or with -, it is what comes from standard input. Without a target
        everybody gets it.
        """
        for kind in _KINDS:
            options[kind] = options[kind] or UNSET
        if state.broker.reach == "process":
            raise click.UsageError(_NOT_SHARED)
        if data is None or data == "-":
            data = _read_all(sys.stdin)
            if not data:
                raise click.UsageError("there is no data on standard input")
        try:
            click.echo(sse_hub.publish(data, **options))
        except SSEHubError as error:
            raise click.ClickException(str(error)) from error
        finally:
            state.broker.close()

    @group.command()
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.option("--last-event-id", help="Begin after this id, not with what comes.")
    @_target_options
    def listen(as_json: bool, last_event_id: str | None, **targets: Any) -> None:
        """Print events as they come; with targets only those that are for them.

        Goes on by itself when the broker was away meanwhile. An id that was printed is
        where --last-event-id begins. What everybody gets is for no target.
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
    @click.option("--channel", multiple=True, help="A glob pattern of channels.")
    @click.option(
        "--target",
        multiple=True,
        type=click.Choice(tokens.KINDS),
        help="A kind of target.",
    )
    @click.option("--name", help="What log lines call it.")
    def token(channel: tuple[str, ...], target: tuple[str, ...], name: str) -> None:
        """Make a token for publishing over HTTP; print it and what to configure.

        Two lines: the token, which is shown this once and is for who publishes, and the
        value of SSE_HUB_PUBLISH_TOKENS, in JSON, with the token's hash. With --channel
        it is good for channels that match, with --target for these kinds, with neither
        for everything.
        """
        made, digest = tokens.mint()
        entry = {"token": digest, "channels": channel, "targets": target, "name": name}
        entry = {key: value for key, value in entry.items() if value}
        try:
            tokens.read_tokens(entry)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        click.echo("The token, for who publishes; it is not kept anywhere:", err=True)
        click.echo(made)
        click.echo("SSE_HUB_PUBLISH_TOKENS, to which more can be added:", err=True)
        click.echo(json.dumps([entry]))

    @group.command()
    @click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
    def client(folder: Path) -> None:
        """Copy the browser client into FOLDER, for a bundler; print what was written.

        FOLDER is made where there is none. Files of other names that are in it stay as
        they are.
        """
        try:
            written = _copy_client(folder)
        except OSError as error:
            raise click.ClickException(
                f"the client cannot be written to {folder}: {error.strerror}"
            ) from error
        for path in written:
            click.echo(path)
        click.echo(f"the browser client of {_version()}", err=True)

    @group.command()
    @click.argument("script", type=click.File(encoding="utf-8-sig"))
    @click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        default=5001,
        show_default=True,
        help="0 is any free one.",
    )
    @click.option("--loop", is_flag=True, help="Begin again at the end.")
    def mock(script: TextIO, port: int, loop: bool) -> None:
        """Play SCRIPT to whoever connects, and print the address; Ctrl-C stops it.

        SCRIPT has one JSON object a line: {"data": ..., "type": ..., "id": ...},
        {"wait": 1.5}, {"drop": true}, {"status": 503, "retry_after": 5}, {"retry": 2}
        or {"comment": ...}. For front ends that are written before their server is;
        nothing of the app or its hub is used.
        """
        # Only here: a worker has no use for a server of its own.
        from ..mock.server import make_mock_server

        try:
            server = make_mock_server(script.read(), port=port, loop=loop)
        except (SSEHubError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{script.name}:\n{error}") from error
        click.echo(f"http://{server.host}:{server.port}/events")
        click.echo(f"plays {script.name}; Ctrl-C stops it", err=True)
        server.serve_forever()

    return group


_NOT_SHARED = (
    "SSE_HUB_BROKER_URL is memory://, which does not leave the server's process: set it"
    " to sqlite:///sse_hub.db or a Redis"
)


def _read_all(stream: TextIO) -> str:
    # One newline at the end is the shell's, not the event's.
    return stream.read().removesuffix("\n")


def _wanted(targets: dict[str, Any]) -> set[Address] | None:
    given = {kind: names for kind, names in targets.items() if names}
    return set(address.target(**given)) if given else None


def _start(state: AppState, last_event_id: str | None) -> Cursor:
    broker = state.broker
    if last_event_id is None:
        return broker.head()
    cursor = Cursor.parse(last_event_id)
    if cursor is None:
        raise click.UsageError(f"{last_event_id!r} is no event id")
    try:
        broker.head()
    except BrokerUnavailable as error:
        click.echo(f"the broker is away for now: {error}", err=True)
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
        click.echo(f"reset: {batch.gap}; it goes on after {batch.cursor}", err=True)


def _print_record(record: Record, *, as_json: bool) -> None:
    event = record.content
    if not isinstance(event, Event):
        return
    target = address.names_of(record.addresses)
    if as_json:
        shown = {
            "id": str(record.cursor),
            "time": record.time,
            "type": event.type,
            "data": event.data,
            "target": target,
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    at = datetime.fromtimestamp(record.time).astimezone().strftime("%H:%M:%S")
    whom = " ".join(_described(target)) or "nobody"
    click.echo(_printable(f"{at} {record.cursor} {event.type} to {whom}: {event.data}"))


def _described(target: dict[str, list[str]] | str) -> Iterable[str]:
    if isinstance(target, str):
        return [target]
    return [f"{kind}={name}" for kind, names in target.items() for name in names]


def _printable(text: str) -> str:
    """Return text that cannot do anything to a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def _copy_client(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in client_script.files():
        path = folder / file.name
        path.write_bytes(file.read_bytes())
        written.append(path)
    return written


def _version() -> str:
    name = "flask-sse-hub"
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        # It runs from its sources, and was never installed.
        return f"{name}, from a checkout"
