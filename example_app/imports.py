"""Importing a CSV file, with its progress.

The page starts an import that outlives its reader. It reads on after a reload, all tabs
of the user show the same progress, and each of them cancels it for all. Programs send
the file to an import that is the stream of one request, and ends with it.

Contacts are added in batches, each in its own transaction: one transaction for a whole
file would lock everybody else out of the database until its end. A cancelled import
therefore keeps the contacts that it has added. No contact is added twice, so sending
the same file again continues the import. That is also the way on after a restart of the
server: the file belongs to the worker that received it, so no other one could go on.

If the user signs out meanwhile, the page stops showing the import. It goes on: the user
has asked for these contacts, and finds them at the next login. An app where a logout
shall end it stops each answer of ``lasting.running()`` in its view for the logout.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import Conflict, NotFound, RequestEntityTooLarge

from flask_sse_hub import BrokerUnavailable, Event, EventSourceResponse, Progress

from . import contacts, lasting
from .bodies import BadField
from .contacts import Row, Unreadable
from .extensions import sse_hub
from .users import require_login

log = logging.getLogger(__name__)

blueprint = Blueprint("imports", __name__, url_prefix="/api")
blueprint.before_request(require_login)

_ROWS_PER_BATCH = 100

#: A hundred problems show what is wrong with a file; further ones are only counted.
MOST_PROBLEMS = 100

_SAMPLE_ROWS = 5000


@blueprint.post("/imports")
def start() -> ResponseReturnValue:
    """Start the import of the form's ``file`` for the page, and return its id.

    A user has one import at a time.
    """
    if lasting.running("import"):
        raise Conflict("an import is running already: wait for its end, or cancel it")
    import_id = lasting.new_id("import")
    sse_hub.answers.start(
        Import(current_user.id, _file(), tell=Shown()),
        id=import_id,
        user=current_user,
        # It has a use without a reader too.
        linger=None,
        app_context=True,
    )
    _tell_tabs(current_user.id, {"id": import_id})
    return jsonify(id=import_id), 201


@blueprint.get("/imports/<import_id>")
def read(import_id: str) -> Response:
    """Stream an import: what has come so far, and all that follows.

    There is ``progress`` for a ``<progress>`` element. The events are ``counts``, and
    ``problem``, ``unreadable`` and ``summary`` as below.
    """
    return sse_hub.answers.response(import_id)


@blueprint.post("/imports/stop")
def stop() -> ResponseReturnValue:
    """Cancel the user's import for all tabs, whichever worker makes it."""
    found = lasting.running("import")
    if not found:
        raise NotFound("no import of yours is running")
    for import_id in found:
        sse_hub.answers.stop(import_id)
    return "", 204


@blueprint.post("/import")
def import_contacts() -> Response:
    """Import the form's ``file``, and stream the progress.

    The events are ``progress`` after each batch, ``problem`` for a row that cannot be
    used, ``unreadable`` if the rest of the file cannot be read, and ``summary`` last.
    """
    return EventSourceResponse(Import(current_user.id, _file()), app_context=True)


@blueprint.get("/import/sample.csv")
def sample() -> Response:
    """Return a sample file, in which a few rows cannot be used."""
    headers = {"Content-Disposition": 'attachment; filename="contacts.csv"'}
    return Response(_sample(), mimetype="text/csv", headers=headers)


@blueprint.get("/contacts")
def count() -> ResponseReturnValue:
    """Return how many contacts the user has."""
    return jsonify(count=contacts.count(current_user.id))


@blueprint.delete("/contacts")
def clear() -> ResponseReturnValue:
    """Delete the user's contacts."""
    contacts.clear(current_user.id)
    return "", 204


#: Returns the items that tell something: ``tell(type, data)``.
Tell = Callable[[str, dict[str, Any]], Iterable[Event | Progress]]


def as_event(type: str, data: dict[str, Any]) -> list[Event | Progress]:
    """Tell everything by an event."""
    return [Event(json.dumps(data), type=type)]


class Shown:
    """Tell the progress in a form for pages. Late readers receive only the newest.

    The counts are events, which late readers receive all, so there are at most about a
    hundred of them.
    """

    def __init__(self) -> None:
        self._percent = 0

    def __call__(self, type: str, data: dict[str, Any]) -> Iterator[Event | Progress]:
        """Return the items that tell something."""
        if type not in ("progress", "summary"):
            yield from as_event(type, data)
            return
        done, of = data["bytes"], data["of"]
        yield Progress(done, f"{data['rows']:,} rows", of)
        percent = 100 * done // (of or 1)
        if type == "summary":
            yield from as_event(type, data)
        elif percent > self._percent:
            self._percent = percent
            yield from as_event("counts", data)


class Import:
    """The items of one import. The stream closes it, however the stream ends.

    It is not a generator: a generator that is closed before it begins does not run its
    ``finally``, and the file would stay.
    """

    def __init__(self, user: str, file: BinaryIO, *, tell: Tell = as_event) -> None:
        self._user = user
        self._file = file
        self._tell = tell
        self._bytes = file.seek(0, 2)
        file.seek(0)
        self._rows = self._added = self._known = self._refused = 0

    def close(self) -> None:
        """Delete the file."""
        log.info("an import ended after %d rows", self._rows)
        self._file.close()

    def __iter__(self) -> Iterator[Event | Progress]:
        batch: list[Row] = []
        readable = True
        try:
            for count, row in enumerate(contacts.read(self._file), 1):
                self._rows += row is not None
                if isinstance(row, Row):
                    batch.append(row)
                elif row is not None:
                    self._refused += 1
                    if self._refused <= MOST_PROBLEMS:
                        found = {"line": row.line, "problem": row.problem}
                        yield from self._tell("problem", found)
                if count % _ROWS_PER_BATCH == 0:
                    self._add(batch)
                    yield from self._tell("progress", self._progress())
                    # Adding never waits, so this pause gives other requests their turn.
                    time.sleep(current_app.config["IMPORT_PAUSE"])
        except Unreadable as unreadable:
            readable = False
            found = {"line": unreadable.line, "problem": unreadable.problem}
            yield from self._tell("unreadable", found)
        self._add(batch)
        yield from self._tell("summary", self._progress() | {"complete": readable})

    def _add(self, batch: list[Row]) -> None:
        added = contacts.add(self._user, batch)
        self._added += added
        self._known += len(batch) - added
        batch.clear()

    def _progress(self) -> dict[str, Any]:
        return {
            "rows": self._rows,
            "added": self._added,
            "known": self._known,
            "refused": self._refused,
            "bytes": self._file.tell(),
            "of": self._bytes,
        }


def _tell_tabs(user: str, data: dict[str, Any]) -> None:
    try:
        sse_hub.publish(data, type="importStarted", user=user)
    except BrokerUnavailable:
        # Other tabs show the import when they are loaded again.
        log.warning("the tabs of %s were not told of their import", user)


def _file() -> BinaryIO:
    """Return a copy of the form's file, which the request closes when it ends."""
    most: int = current_app.config["IMPORT_MAX_BYTES"]
    # The limit is for the whole form, whose other parts are a few lines.
    request.max_content_length = most + 4096
    try:
        sent = request.files.get("file")
    except RequestEntityTooLarge as error:
        error.description = f"file is larger than {most // 1024} KiB"
        raise
    if sent is None or not sent.filename:
        raise BadField("file", "is missing")
    if not sent.filename.lower().endswith(".csv"):
        raise BadField("file", "must be a .csv file")
    # The file has no name in the file system, so even a killed worker leaves nothing.
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed later
    sent.save(file)
    return file


def _sample() -> Iterator[str]:
    yield "name,email\r\n"
    for number in range(1, _SAMPLE_ROWS + 1):
        at = " at " if number % 1000 == 0 else "@"
        yield f"Person {number},person{number}{at}example.com\r\n"
