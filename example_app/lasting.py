"""The answers of the current user that are running: those of the chat, and imports."""

import secrets
from typing import Literal

from flask_login import current_user

from .extensions import sse_hub

#: The parts of this app that start answers.
Part = Literal["chat", "import"]


def new_id(part: Part) -> str:
    """Return an id for an answer. It has to be long enough that nobody guesses it."""
    return f"{part}-{secrets.token_hex(16)}"


def running(part: Part) -> list[str]:
    """Return the ids of the answers that are being made for the current user."""
    answers = sse_hub.answers.list(user=current_user)
    return [
        answer.id
        for answer in answers
        if answer.state == "running" and answer.id.startswith(f"{part}-")
    ]


def goes_on(answer_id: str) -> bool:
    """Tell whether an answer is being made, or another worker goes on with it."""
    answer = sse_hub.answers.get(answer_id)
    return answer is not None and answer.state == "running"
