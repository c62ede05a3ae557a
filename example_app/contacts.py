"""Contacts: each user's list, and a reader of CSV files with contacts.

Each change of a list is told to the user's pages after the commit.

The reader knows no requests and no database. A file may contain anything. The reader
yields usable rows and problems, each with its line, and raises ``Unreadable`` at the
line where it cannot continue. It holds one row at a time.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from sqlalchemy import UniqueConstraint, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import Base, db, sse_hub

_COLUMNS = ("name", "email")

# The largest row, which may span several lines. A row is read in one go, and no other
# request has a turn meanwhile. A contact has a few hundred bytes.
_MOST_BYTES = 65_536

# Reading this number of empty rows takes as long as adding one contact.
_EMPTY_ROWS = 20

_NOT_UTF_8 = "this is not UTF-8: save the file as CSV in UTF-8"

_MOST_NAME = 100
_MOST_EMAIL = 254  # the longest address that fits into an SMTP command

# Checks the form only. Sending an email is the only way to know that an address exists.
_EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+")


class Contact(Base):
    """An entry in a user's address book. Each user has an email only once."""

    __tablename__ = "contact"
    __table_args__ = (UniqueConstraint("user", "email"),)

    number: Mapped[int] = mapped_column(primary_key=True)
    user: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be used."""

    line: int
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used, and why."""

    line: int
    problem: str


class Unreadable(Exception):
    """Raised when the rest of a file cannot be read; has the line and the reason."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


def read(file: BinaryIO) -> Iterator[Row | Problem | None]:
    """Yield the rows of a CSV file in UTF-8 whose first line names its columns.

    None stands for some empty rows. They carry no contact, but a file may be full of
    them, and the caller has to let other requests have their turn.
    """
    lines = _Lines(file)
    empty = 0
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        name_at, email_at = _places(header)
        lines.begin_row()
        for fields in reader:
            if not any(field.strip() for field in fields):
                empty += 1
                if empty % _EMPTY_ROWS == 0:
                    yield None
            elif len(fields) == len(header):
                name, email = fields[name_at].strip(), fields[email_at].strip()
                yield _checked(lines.row, name, email.lower())
            else:
                problem = f"has {len(fields)} columns, not {len(header)}"
                yield Problem(lines.row, problem)
            lines.begin_row()
    except csv.Error as error:
        # The text after the dash is advice for programmers.
        problem, _, _ = str(error).partition(" - ")
        raise Unreadable(lines.row, f"this is not CSV: {problem}") from error


class _Lines:
    """A file's lines as text. The CSV reader takes the lines of one row at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self.begin_row()

    def begin_row(self) -> None:
        """Note that the next line begins a row; ``row`` becomes the line's number."""
        self.row = self._number + 1
        self._left = _MOST_BYTES

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(self._left + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        self._left -= len(raw)
        if self._left < 0:
            problem = f"a row may have up to {_MOST_BYTES} bytes: is a quote missing?"
            raise Unreadable(self.row, problem)
        # Binary files contain NUL, and so does UTF-16, which some spreadsheets save.
        if b"\0" in raw:
            raise Unreadable(self._number, _NOT_UTF_8)
        try:
            # Some programs put a byte order mark at the beginning of a file.
            return raw.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise Unreadable(self._number, _NOT_UTF_8) from error


def _places(header: list[str]) -> tuple[int, int]:
    """Return the positions of the columns name and email."""
    if not any(header):
        raise Unreadable(1, "the file is empty, or its first line is")
    if any(header.count(name) != 1 for name in _COLUMNS):
        raise Unreadable(
            1,
            "the first line must name the columns name and email, once each, with a"
            f" comma between them; it is: {','.join(header):.80}",
        )
    name, email = (header.index(name) for name in _COLUMNS)
    return name, email


def _checked(line: int, name: str, email: str) -> Row | Problem:
    if not name:
        return Problem(line, "the name is empty")
    if len(name) > _MOST_NAME:
        return Problem(line, f"the name is longer than {_MOST_NAME} characters")
    if not email:
        return Problem(line, "the email is empty")
    if len(email) > _MOST_EMAIL or not _EMAIL.fullmatch(email):
        return Problem(line, f"this is no email address: {email:.60}")
    return Row(line, name, email)


def add(user: str, rows: list[Row]) -> int:
    """Add contacts in one transaction; return how many of them were new."""
    if not rows:
        return 0
    values = [{"user": user, "name": row.name, "email": row.email} for row in rows]
    # One statement checks for a contact and adds it, as in create_tables().
    new = insert(Contact).values(values).on_conflict_do_nothing()
    with db.session.begin():
        added = len(db.session.scalars(new.returning(Contact.number)).all())
        if added:
            _tell_count(user)
    return added


def count(user: str) -> int:
    """Return how many contacts a user has."""
    with db.session.begin():
        return _count(user)


def _count(user: str) -> int:
    mine = select(func.count()).where(Contact.user == user)
    return db.session.scalar(mine) or 0


def _tell_count(user: str) -> None:
    """Tell the user's pages the new count, once the transaction has committed.

    Before the commit it would be wrong, and after a rollback it would stay wrong.
    """
    sse_hub.publish(
        {"count": _count(user)}, type="contacts", user=user, after=db.session
    )


def clear(user: str) -> None:
    """Delete a user's contacts."""
    with db.session.begin():
        db.session.execute(delete(Contact).where(Contact.user == user))
        _tell_count(user)
