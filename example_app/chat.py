"""A chat with a language model.

The page asks for answers that outlive their reader. It reads on after a reload, all
tabs of the user read the same answer, and the stop button ends it for all of them.
Programs ask for an answer that is the stream of one request, and ends with it.

All tabs of a user also share one stream of the hub. The hub tells them that a question
was asked, and that its answer has been kept.

A complete answer is kept with its question. An answer that is stopped is kept as far as
it came and is marked as stopped, because the user has seen that much. An answer that
fails, or is stopped before its first word, is not kept.

If the worker of a page's answer goes away or is killed, another worker asks the model
to go on from the text so far. Code that is closed cannot tell that from a stop. So it
keeps the text so far in any case, and the worker that goes on keeps the whole in its
place.

If the user signs out meanwhile, the page stops showing the answer. It goes on.
"""

import json
import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import NotFound

from flask_sse_hub import Batch, BrokerUnavailable, Event, EventSourceResponse

from . import conversations, language_model, lasting
from .bodies import identifier, json_object, text
from .conversations import Exchange, OpenQuestion
from .extensions import sse_hub
from .security import refuse_other_sites
from .users import require_login

log = logging.getLogger(__name__)

blueprint = Blueprint("chat", __name__, url_prefix="/api")
blueprint.before_request(require_login)

#: The longest question, in characters.
MOST_TEXT = 2000

#: The optional field with the id of a conversation.
CONVERSATION = "conversationId"

#: The header with the id under which the exchange will be kept.
EXCHANGE_ID = "Exchange-Id"


@blueprint.post("/chat/answers")
def start() -> ResponseReturnValue:
    """Start an answer for the page, and return its id. Every tab reads it by the id."""
    question = text(
        json_object(fields=frozenset({"message"})), "message", most=MOST_TEXT
    )
    answer_id = lasting.new_id("chat")
    asked = {"id": answer_id, "question": question}
    # A tab that is opened from now on knows the question.
    conversations.note_question(OpenQuestion(**asked, user=current_user.id))
    sse_hub.answers.start(
        _answer(current_user.id, "", question, answer_id),
        id=answer_id,
        user=current_user,
        # A tab that is opened later receives the text so far as one event.
        merge="".join,
        app_context=True,
        restart=go_on,
    )
    _tell_tabs(current_user.id, asked, type="chatAsked")
    return jsonify(id=answer_id), 201


@sse_hub.restart_answer
def go_on(answer_id: str, so_far: str) -> Iterator[str]:
    """Go on with an answer whose worker is gone."""
    asked = conversations.open_question(answer_id)
    return _answer(asked.user, "", asked.question, answer_id, so_far)


@blueprint.get("/chat/answers/<answer_id>")
def read(answer_id: str) -> Response:
    """Stream an answer: the part that has come so far, and all that follows."""
    return sse_hub.answers.response(answer_id)


@blueprint.post("/chat/answers/<answer_id>/stop")
def stop(answer_id: str) -> ResponseReturnValue:
    """Stop an answer for all tabs, whichever worker makes it."""
    if answer_id not in lasting.running("chat"):
        raise NotFound("this answer has ended, or is not yours")
    sse_hub.answers.stop(answer_id)
    return "", 204


def running() -> list[dict[str, str]]:
    """Return the user's questions that are being answered, with the answers' ids."""
    return conversations.open_questions(lasting.running("chat"))


@blueprint.post("/chat/stream")
def ask() -> Response:
    """Answer ``{"message": "..."}`` with events that each have all of the text so far.

    Each event is ``{"content": "...", "done": false}``. The last one has
    ``"done": true``, which says that the exchange was kept.

    A program may keep several conversations apart by a ``"conversationId"``, a text or
    an integer. The ids belong to the user, and a new one begins a conversation.
    """
    body = json_object(fields=frozenset({"message", CONVERSATION}))
    question = text(body, "message", most=MOST_TEXT)
    conversation = identifier(body, CONVERSATION)
    exchange_id = lasting.new_id("chat")
    response = EventSourceResponse(
        _accumulated(_answer(current_user.id, conversation, question, exchange_id)),
        # Each event contains the text of those before it, so the last one is enough.
        batch=Batch(size=20, interval=0.05, merge=lambda events: events[-1]),
        app_context=True,
    )
    response.headers[EXCHANGE_ID] = exchange_id
    return response


@blueprint.get("/stream")
def ask_by_address() -> Response:
    """Answer ``?message=...`` for a native EventSource: metadata, then each token.

    The query may have a ``conversationId`` too.

    This GET changes data, since an EventSource can only send a GET. It therefore
    refuses requests of other sites, as every POST does.
    """
    refuse_other_sites()
    query = request.args.to_dict()
    question = text(query, "message", most=MOST_TEXT)
    conversation = identifier(query, CONVERSATION)
    exchange_id = lasting.new_id("chat")
    tokens = _answer(current_user.id, conversation, question, exchange_id)
    return EventSourceResponse(_tokens(tokens, exchange_id), app_context=True)


@blueprint.get("/chat/messages")
def messages() -> ResponseReturnValue:
    """Return the conversation, for a page that has missed a part of it."""
    conversation = identifier(request.args.to_dict(), CONVERSATION)
    return jsonify(exchanges=conversations.recent(current_user.id, conversation))


@blueprint.delete("/chat/messages")
def clear() -> ResponseReturnValue:
    """Delete the conversation. An answer that is still coming begins a new one."""
    conversation = identifier(request.args.to_dict(), CONVERSATION)
    conversations.clear(current_user.id, conversation)
    cleared = {CONVERSATION: conversation} if conversation else {}
    _tell_tabs(current_user.id, cleared, type="chatCleared")
    return "", 204


def _accumulated(tokens: Generator[str, None, None]) -> Iterator[dict[str, Any]]:
    content = ""
    # Closing keeps a stopped answer. Garbage collection would do it too late.
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
            # As JSON: a raw carriage return is a line end on the wire, and the client
            # would read it as a line feed.
            yield Event(json.dumps({"content": token}), type="token")


def _answer(
    user: str, conversation: str, question: str, exchange_id: str, so_far: str = ""
) -> Generator[str, None, None]:
    """Yield the tokens of an answer after the text so far, and keep the exchange.

    No database connection is held between tokens.
    """
    messages = conversations.messages(user, conversation, without=exchange_id)
    messages.append({"role": "user", "content": question})
    if so_far:
        messages.append({"role": "assistant", "content": so_far})
    answer = [so_far] if so_far else []

    def keep(*, stopped: bool) -> None:
        exchange = Exchange(
            id=exchange_id,
            user=user,
            conversation=conversation,
            question=question,
            answer="".join(answer),
            stopped=stopped,
        )
        kept = conversations.keep(exchange)
        # A worker that goes on with the answer will tell the tabs of the whole.
        if not (stopped and lasting.goes_on(exchange_id)):
            _tell_tabs(user, kept, type="chat")

    try:
        with closing(language_model.complete(messages)) as call:
            for token in call:
                answer.append(token)
                yield token
    except Exception:
        # The answer failed: it is not kept.
        raise
    except BaseException:
        # The answer was stopped: closed at a yield, or interrupted in the model's call.
        if answer:
            keep(stopped=True)
        raise
    keep(stopped=False)


def _tell_tabs(user: str, data: dict[str, Any], *, type: str) -> None:
    try:
        sse_hub.publish(data, type=type, user=user)
    except BrokerUnavailable:
        # The change is stored, and other tabs show it when they are loaded again.
        log.warning("the tabs of %s were not told of their chat", user)
