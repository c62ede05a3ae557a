"""Importing a CSV file. The request that uploads it streams the progress.

Contacts are added in batches, each in its own transaction: one transaction for a whole
file would lock everybody else out of the database until its end. A cancelled import
therefore keeps the contacts that it has added. No contact is added twice, so sending
the same file again continues the import.
"""

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from flask_sse_hub import Event, EventSourceResponse

from . import contacts
from .bodies import BadField
from .contacts import Row, Unreadable
from .users import require_login

log = logging.getLogger(__name__)

blueprint = Blueprint("imports", __name__, url_prefix="/api")
blueprint.before_request(require_login)

_ROWS_PER_BATCH = 100

#: A hundred problems show what is wrong with a file; further ones are only counted.
MOST_PROBLEMS = 100

_SAMPLE_ROWS = 5000


@blueprint.post("/import")
def import_contacts() -> Response:
    """Import the form's ``file``, and stream the progress.

    The events are ``progress`` after each batch, ``problem`` for a row that cannot be
    used, ``unreadable`` if the rest of the file cannot be read, and ``summary`` last.
    """
    most: int = current_app.config["IMPORT_MAX_BYTES"]
    # The limit is for the whole form, whose other parts are a few lines.
    request.max_content_length = most + 4096
    try:
        sent = request.files.get("file")
    except RequestEntityTooLarge as error:
        error.description = f"file is larger than {most // 1024} KiB"
        raise
    return EventSourceResponse(Import(current_user.id, _file(sent)), app_context=True)


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


class Import:
    """The events of one import. The stream closes it, however the stream ends.

    It is not a generator: a generator that is closed before it begins does not run its
    ``finally``, and the file would stay.
    """

    def __init__(self, user: str, file: BinaryIO) -> None:
        self._user = user
        self._file = file
        self._bytes = file.seek(0, 2)
        file.seek(0)
        self._rows = self._added = self._known = self._refused = 0

    def close(self) -> None:
        """Delete the file."""
        log.info("an import ended after %d rows", self._rows)
        self._file.close()

    def __iter__(self) -> Iterator[Event]:
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
                        yield _event("problem", line=row.line, problem=row.problem)
                if count % _ROWS_PER_BATCH == 0:
                    self._add(batch)
                    yield self._progress("progress")
                    # Adding never waits, so this pause gives other requests their turn.
                    time.sleep(current_app.config["IMPORT_PAUSE"])
        except Unreadable as unreadable:
            readable = False
            yield _event("unreadable", line=unreadable.line, problem=unreadable.problem)
        self._add(batch)
        yield self._progress("summary", complete=readable)

    def _add(self, batch: list[Row]) -> None:
        added = contacts.add(self._user, batch)
        self._added += added
        self._known += len(batch) - added
        batch.clear()

    def _progress(self, type: str, **more: bool) -> Event:
        return _event(
            type,
            rows=self._rows,
            added=self._added,
            known=self._known,
            refused=self._refused,
            bytes=self._file.tell(),
            of=self._bytes,
            **more,
        )


def _event(type: str, **data: Any) -> Event:
    return Event(json.dumps(data), type=type)


def _file(sent: FileStorage | None) -> BinaryIO:
    """Return a copy of the uploaded file, which the request closes when it ends."""
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
