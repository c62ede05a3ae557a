"""A chat with a language model: its answers are streams of one request.

Beside them goes the one stream that all tabs share: when an answer was kept, the hub
tells the user's other tabs.

An answer is kept with its question when it is complete. One that is stopped is kept as
far as it came, and marked: what was shown stays. Whether the person stopped it, closed
the page or lost the connection, or whether this worker had to stop, cannot be told
apart here. Of an answer that fails, or is stopped before its first word, nothing is
kept.

An answer belongs to the request that asked for it. Who signs out meanwhile has it kept
all the same, but the page stops it, since nothing should be shown from then on.
"""

import json
import logging
import secrets
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from flask_sse_hub import Batch, BrokerUnavailable, Event, EventSourceResponse

from . import conversations, language_model
from .bodies import json_object, text
from .conversations import Exchange
from .extensions import sse_hub
from .security import refuse_other_sites
from .users import require_login

log = logging.getLogger(__name__)

blueprint = Blueprint("chat", __name__, url_prefix="/api")
blueprint.before_request(require_login)

#: How long a question may be.
MOST_TEXT = 2000

#: The header that names the exchange which an answer will be.
EXCHANGE_ID = "Exchange-Id"


@blueprint.post("/chat/stream")
def ask() -> Response:
    """Answer ``{"message": "..."}`` by events that each have all of the text so far.

    ``{"content": "...", "done": false}``, and the last one ``"done": true``, which says
    that the exchange was kept.
    """
    body = json_object(fields=frozenset({"message"}))
    question = text(body, "message", most=MOST_TEXT)
    exchange_id = _new_id()
    response = EventSourceResponse(
        _accumulated(_answer(current_user.id, question, exchange_id)),
        # Each has what the ones before it have: of several only the last is needed.
        batch=Batch(size=20, interval=0.05, merge=lambda events: events[-1]),
        app_context=True,
    )
    response.headers[EXCHANGE_ID] = exchange_id
    return response


@blueprint.get("/stream")
def ask_by_address() -> Response:
    """Answer ``?message=...`` for a native EventSource: metadata, then each token.

    A GET that changes something, since an EventSource can do nothing else: so it is
    asked here, as for each POST, which site the request comes from.
    """
    refuse_other_sites()
    question = text(request.args.to_dict(), "message", most=MOST_TEXT)
    exchange_id = _new_id()
    tokens = _answer(current_user.id, question, exchange_id)
    return EventSourceResponse(_tokens(tokens, exchange_id), app_context=True)


@blueprint.get("/chat/messages")
def messages() -> ResponseReturnValue:
    """Return the conversation, for a page that has missed some of it."""
    return jsonify(exchanges=conversations.recent(current_user.id))


@blueprint.delete("/chat/messages")
def clear() -> ResponseReturnValue:
    """Forget the conversation. An answer that is still on its way begins a new one."""
    conversations.clear(current_user.id)
    _tell_tabs(current_user.id, {}, type="chatCleared")
    return "", 204


def _accumulated(tokens: Generator[str, None, None]) -> Iterator[dict[str, Any]]:
    content = ""
    # Closed here, and not when it happens to be collected: it keeps what was stopped.
    with closing(tokens):
        for token in tokens:
            content += token
            yield {"content": content, "done": False}
    yield {"content": content, "done": True}


def _tokens(tokens: Generator[str, None, None], exchange_id: str) -> Iterator[Event]:
    metadata = {"model": language_model.NAME, "id": exchange_id}
    yield Event(json.dumps(metadata), type="metadata")
    with closing(tokens):
        for token in tokens:
            # As JSON: a carriage return is a line end on the wire, and would come back
            # as another one.
            yield Event(json.dumps({"content": token}), type="token")


def _answer(user: str, question: str, exchange_id: str) -> Generator[str, None, None]:
    """Yield the tokens of an answer, and keep the exchange.

    No connection to the database is held from token to token.
    """
    conversation = conversations.messages(user)
    conversation.append({"role": "user", "content": question})
    answer: list[str] = []

    def keep(*, stopped: bool) -> None:
        exchange = Exchange(
            id=exchange_id,
            user=user,
            question=question,
            answer="".join(answer),
            stopped=stopped,
        )
        _tell_tabs(user, conversations.keep(exchange), type="chat")

    try:
        with closing(language_model.complete(conversation)) as call:
            for token in call:
                answer.append(token)
                yield token
    except Exception:
        # It failed: nothing is kept.
        raise
    except BaseException:
        # It was stopped: closed at a yield, or interrupted in the model's call.
        if answer:
            keep(stopped=True)
        raise
    keep(stopped=False)


def _tell_tabs(user: str, data: dict[str, Any], *, type: str) -> None:
    try:
        sse_hub.publish(data, type=type, user=user)
    except BrokerUnavailable:
        # It is done, and other tabs see it when they are loaded anew.
        log.warning("the tabs of %s were not told of their chat", user)


def _new_id() -> str:
    return secrets.token_hex(8)
