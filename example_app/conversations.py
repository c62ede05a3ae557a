"""What was asked and answered: a conversation for each user, in the database.

Knows no streams. A question and its answer are one row, so that neither is ever kept
without the other.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import Base, db
from .language_model import Message

# What a page shows of a long conversation, and how much of it the model is given, which
# has to read all of that before its first word, each time.
_MOST_SHOWN = 50
_MOST_REMEMBERED = 8


class Exchange(Base):
    """A question with its answer, or as much of it as came before it was stopped."""

    __tablename__ = "exchange"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    user: Mapped[str] = mapped_column(index=True)
    question: Mapped[str]
    answer: Mapped[str]
    stopped: Mapped[bool]
    at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Return what a page shows of it."""
        return {
            "id": self.id,
            "question": self.question,
            "answer": self.answer,
            "stopped": self.stopped,
        }


def keep(exchange: Exchange) -> dict[str, Any]:
    """Keep an exchange; return what a page shows of it."""
    with db.session.begin():
        db.session.add(exchange)
        db.session.flush()
        return exchange.as_json()


def recent(user: str) -> list[dict[str, Any]]:
    """Return a user's last exchanges, oldest first."""
    with db.session.begin():
        return [each.as_json() for each in _last(user, _MOST_SHOWN)]


def messages(user: str) -> list[Message]:
    """Return the end of a user's conversation, as a model is given it."""
    with db.session.begin():
        found: list[Message] = []
        for each in _last(user, _MOST_REMEMBERED):
            found.append({"role": "user", "content": each.question})
            found.append({"role": "assistant", "content": each.answer})
        return found


def clear(user: str) -> None:
    """Forget a user's conversation."""
    with db.session.begin():
        db.session.execute(delete(Exchange).where(Exchange.user == user))


def _last(user: str, count: int) -> list[Exchange]:
    newest = (
        select(Exchange)
        .where(Exchange.user == user)
        .order_by(Exchange.number.desc())
        .limit(count)
    )
    return list(reversed(db.session.scalars(newest).all()))
