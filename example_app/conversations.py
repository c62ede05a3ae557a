"""Conversations: the questions and answers of each user, in the database.

A user can have many conversations, each with an id that the user's program chooses. The
pages show the one without an id. An id that is new begins a conversation.

This module knows no streams. A question and its answer are one row, so neither is ever
kept without the other. A question whose answer is still being made is a row of another
table, for tabs that are opened meanwhile.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import Base, db
from .language_model import Message

# The number of exchanges of a long conversation that a page shows, and the number that
# the model is given. A model reads all of them again before each answer.
_MOST_SHOWN = 50
_MOST_REMEMBERED = 8

# No answer takes longer: its timeout is ten minutes.
_LONGEST_ANSWER = timedelta(hours=1)


class Exchange(Base):
    """A question with its answer. A stopped answer is kept as far as it came."""

    __tablename__ = "exchange"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    user: Mapped[str] = mapped_column(index=True)
    conversation: Mapped[str] = mapped_column(default="", server_default="")
    question: Mapped[str]
    answer: Mapped[str]
    stopped: Mapped[bool]
    at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Return the fields that a page shows, and the id of the conversation."""
        shown = {
            "id": self.id,
            "question": self.question,
            "answer": self.answer,
            "stopped": self.stopped,
        }
        if self.conversation:
            shown["conversationId"] = self.conversation
        return shown


class OpenQuestion(Base):
    """A question whose answer has begun, under the answer's id."""

    __tablename__ = "open_question"

    id: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str]
    question: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


def note_question(question: OpenQuestion) -> None:
    """Keep a question until its answer has certainly ended."""
    old = datetime.now(UTC) - _LONGEST_ANSWER
    with db.session.begin():
        db.session.execute(delete(OpenQuestion).where(OpenQuestion.at < old))
        db.session.add(question)


def open_questions(ids: Collection[str]) -> list[dict[str, str]]:
    """Return the questions of these answers, each with its id."""
    asked = select(OpenQuestion).where(OpenQuestion.id.in_(ids))
    with db.session.begin():
        found = db.session.scalars(asked.order_by(OpenQuestion.at)).all()
        return [{"id": each.id, "question": each.question} for each in found]


def open_question(answer_id: str) -> OpenQuestion:
    """Return the question of an answer. Raises LookupError if it was not noted."""
    with db.session.begin():
        found = db.session.get(OpenQuestion, answer_id)
        if found is None:
            raise LookupError(answer_id)
        db.session.expunge(found)
        return found


def keep(exchange: Exchange) -> dict[str, Any]:
    """Keep an exchange; return the fields that a page shows.

    It replaces a shorter part of the same answer, and never a complete one: a worker
    that was only stopped may wake up when another one has gone on.
    """
    with db.session.begin():
        same = db.session.scalar(select(Exchange).where(Exchange.id == exchange.id))
        if same is None:
            db.session.add(exchange)
            db.session.flush()
            return exchange.as_json()
        if same.stopped and len(exchange.answer) > len(same.answer):
            same.answer, same.stopped = exchange.answer, exchange.stopped
        return same.as_json()


def recent(user: str, conversation: str = "") -> list[dict[str, Any]]:
    """Return the last exchanges of a conversation, oldest first."""
    with db.session.begin():
        return [each.as_json() for each in _last(user, conversation, _MOST_SHOWN)]


def messages(
    user: str, conversation: str = "", *, without: str | None = None
) -> list[Message]:
    """Return the end of a conversation as messages for a model.

    ``without`` is the id of an exchange that is left out, because its answer is still
    being made.
    """
    with db.session.begin():
        found: list[Message] = []
        for each in _last(user, conversation, _MOST_REMEMBERED):
            if each.id == without:
                continue
            found.append({"role": "user", "content": each.question})
            found.append({"role": "assistant", "content": each.answer})
        return found


def clear(user: str, conversation: str = "") -> None:
    """Delete a conversation."""
    with db.session.begin():
        db.session.execute(
            delete(Exchange).where(
                Exchange.user == user, Exchange.conversation == conversation
            )
        )


def _last(user: str, conversation: str, count: int) -> list[Exchange]:
    newest = (
        select(Exchange)
        .where(Exchange.user == user, Exchange.conversation == conversation)
        .order_by(Exchange.number.desc())
        .limit(count)
    )
    return list(reversed(db.session.scalars(newest).all()))
