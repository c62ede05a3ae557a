"""The console: a page for people on call, its data, and its actions.

For requests that SSE_HUB_STATS_ACCESS admits. The page asks again and again, and needs
no stream of its own: it works where streams do not. Knows requests. Does not know how
workers ask each other.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, ServiceUnavailable

from ..auth.tickets import Ticket
from ..auth.visitor import current_identity
from ..errors import InvalidArgument, SSEHubError
from ..events import address
from ..events.record import Cursor
from ..hub.clients.client import Identity
from ..metrics.streams import ORDERS, StreamQuery
from ..runtime.coded_log import CodedLog
from ..webhooks.request_body import parse_json, read_body
from .app_state import AppState
from .cors import is_foreign
from .health import health_answer
from .log_tail import LogQuery, read_tail, shown
from .statistics import admit, described, join_workers, number_in_query

log = CodedLog(__name__)

# A nonce is not needed: the page has no inline script, and all files are of the hub.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Forms and images cannot send it, and pages of other origins only after a preflight,
# which does not allow it.
_HEADER = "X-SSE-Hub-Console"

_STREAMS_PER_PAGE = 50
_MOST_PAGES = 200
_MOST_CHANNELS = 10
_MOST_SHARED = 50
_MOST_USERS = 10
_MOST_CHARS = 100
_MOST_BODY_BYTES = 4096

# The channel of a test event, and the seconds in which the page opens its stream.
_TEST_CHANNEL = "sse-hub-console-"
_TEST_SECONDS = 60.0


def add_console(blueprint: Blueprint, state: AppState) -> None:
    """Add the console's page, files, data and actions to the blueprint."""

    def file(path: str, name: str, mimetype: str) -> None:
        @blueprint.get(f"/console{path}", endpoint=name.replace(".", "_"))
        def view() -> ResponseReturnValue:
            admit(state)
            return _file(name, mimetype)

    def answer(path: str, data: Callable[[AppState], Any]) -> None:
        @blueprint.get(f"/console/{path}", endpoint=f"console_{path}")
        def view() -> ResponseReturnValue:
            _admit_page(state)
            with _said_in_words():
                return jsonify(data(state))

    def act(path: str, action: Callable[[AppState, dict[str, Any]], Any]) -> None:
        @blueprint.post(f"/console/{path}", endpoint=f"console_{path}")
        def view() -> ResponseReturnValue:
            _admit_page(state)
            if _HEADER not in request.headers:
                raise Forbidden(f"an action of the console needs the header {_HEADER}")
            given = parse_json(read_body(_MOST_BODY_BYTES))
            if not isinstance(given, dict):
                raise BadRequest("the body is not an object")
            with _said_in_words():
                return jsonify(action(state, given)), 202

    file("", "console.html", "text/html")
    file("/console.js", "console.js", "text/javascript")
    file("/console.css", "console.css", "text/css")
    answer("figures", _figures)
    answer("streams", _streams)
    answer("log", _log)
    answer("people", _people)
    act("close", _close)
    act("test", _test)
    act("publish", _publish)


def _admit_page(state: AppState) -> None:
    """Admit requests of the console's page, and of programs.

    Raises Forbidden. An origin in SSE_HUB_CORS_ORIGINS may open streams, and reads no
    console.
    """
    admit(state)
    if is_foreign():
        raise Forbidden("the console answers no pages of another origin")


@contextmanager
def _said_in_words() -> Iterator[None]:
    try:
        yield
    except InvalidArgument as error:
        raise BadRequest(str(error)) from error
    except SSEHubError as error:
        raise ServiceUnavailable(str(error)) from error


# Data


def _figures(state: AppState) -> dict[str, Any]:
    """Return the statistics of all workers, with the busiest channels alone."""
    join_workers(state)
    found = described(state.machine.figures())
    channels = sorted(found["channels"].items(), key=lambda item: (-item[1], item[0]))
    return {
        **found,
        "channels": channels[:_MOST_CHANNELS],
        "more_channels": max(0, len(channels) - _MOST_CHANNELS),
        "health": health_answer(state, verbose=True)[0],
    }


def _streams(state: AppState) -> dict[str, Any]:
    """Return a page of the streams of all workers that the query asks for."""
    page = min(number_in_query("page", request.args.get("page", "0")), _MOST_PAGES - 1)
    order = request.args.get("order", "oldest")
    if order not in ORDERS:
        raise BadRequest(f"order={order!r:.40} is none of {', '.join(ORDERS)}")
    begin, end = page * _STREAMS_PER_PAGE, (page + 1) * _STREAMS_PER_PAGE
    join_workers(state)
    found = state.machine.streams(StreamQuery(_text("text"), order, end))
    return {
        "count": found.count,
        "page": page,
        "pages": min(_MOST_PAGES, -(-found.count // _STREAMS_PER_PAGE)),
        "silent": found.silent,
        "streams": [
            {**asdict(stream), "worker": worker}
            for worker, stream in found.streams[begin:end]
        ],
    }


def _log(state: AppState) -> dict[str, Any]:
    """Return the newest events after a cursor, the newest first."""
    after = request.args.get("after")
    cursor = None if after is None else Cursor.parse(after)
    if after is not None and cursor is None:
        raise BadRequest(f"after={after!r:.40} is not an event's id")
    query = LogQuery(cursor, target=_text("target"), type=_text("type"))
    tail = read_tail(state.broker, query)
    payload = state.config.console_payloads
    return {
        "cursor": str(tail.cursor),
        "skipped": tail.skipped,
        "payloads": payload,
        "events": [shown(record, payload=payload) for record in tail.records],
    }


def _people(state: AppState) -> dict[str, Any]:
    """Return the fullest channels with presence, and answers, the running ones first.

    Each worker knows all of both, from the log.
    """
    join_workers(state)
    hub, now = state.hub, state.time_of_day()
    roster = hub.roster
    crowds = roster.crowds(_MOST_SHARED, _MOST_USERS)
    found = state.answers.list()
    found.sort(key=lambda each: (each.state != "running", -each.begun))
    return {
        "stale": roster.stale,
        "channels": [asdict(each) for each in crowds.fullest],
        "more_channels": crowds.count - len(crowds.fullest),
        "answers": [
            {**asdict(each), "age": max(0.0, now - each.begun)}
            for each in found[:_MOST_SHARED]
        ],
        "more_answers": max(0, len(found) - _MOST_SHARED),
    }


def _text(name: str) -> str:
    text = request.args.get(name, "").strip()
    if len(text) > _MOST_CHARS:
        raise BadRequest(
            f"{name}= has {len(text)} characters; {_MOST_CHARS} are allowed"
        )
    return text


# Actions


def _close(state: AppState, given: dict[str, Any]) -> dict[str, Any]:
    """End the stream of one client, on whatever worker it is."""
    client = given.get("client")
    if not isinstance(client, str):
        raise BadRequest("client is not the id of a client")
    target = address.target(client=client, broadcasts=False)
    _note("closes the stream of the client", client)
    state.disconnect(target)
    return {"client": client}


def _test(state: AppState, _: dict[str, Any]) -> dict[str, Any]:
    """Return the address of a stream that nobody else can open, and its ticket."""
    channel = _TEST_CHANNEL + secrets.token_urlsafe(12)
    ticket = Ticket.lasting(
        _TEST_SECONDS,
        now=state.time_of_day(),
        identity=Identity(),
        channels=(channel,),
    ).sign()
    url = url_for("sse_hub.stream", channel=channel, ticket=ticket)
    return {"url": url, "ticket": ticket}


def _publish(state: AppState, given: dict[str, Any]) -> dict[str, Any]:
    """Publish a test event to the channel of a ticket from ``_test()``."""
    ticket = Ticket.read(str(given.get("ticket")), now=state.time_of_day())
    channels = () if ticket is None else ticket.channels
    if len(channels) != 1 or not channels[0].startswith(_TEST_CHANNEL):
        raise BadRequest("ticket is not a ticket for a test")
    record = state.composer.record({}, type="console-test", channel=channels[0])
    _note("publishes a test event to the channel", channels[0])
    return {"id": state.publish(record)}


def _note(action: str, value: str) -> None:
    """Log an action with the user who asked for it."""
    user = current_identity().user
    log.warning(
        "SSE-1901",
        "the console %s %.200r, for %s at %.60r",
        action,
        value,
        "somebody without a login" if user is None else f"user {user!r}",
        request.remote_addr,
    )


# Files


def _file(name: str, mimetype: str) -> Response:
    """Return a file of the console, or 304 if the browser has this version already."""
    response = Response(_content(name), mimetype=mimetype, headers=_HEADERS)
    response.headers["Cache-Control"] = "private, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


@cache
def _content(name: str) -> bytes:
    return (resources.files(__package__) / "pages" / name).read_bytes()
