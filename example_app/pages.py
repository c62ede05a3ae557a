"""The pages."""

from flask import Blueprint, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user

from . import (
    chat,
    contacts,
    conversations,
    figures,
    imports,
    language_model,
    lasting,
    webhooks,
)
from .extensions import sse_hub
from .users import USERS, require_login

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> str:
    """Show an overview of the pages."""
    user = current_user.id if current_user.is_authenticated else "alice"
    return render_template("index.html", webhook_call=webhooks.sample_call(user))


@blueprint.get("/sse-demo")
def sse_demo() -> ResponseReturnValue:
    """Show a stream from the inside, with buttons that publish."""
    require_login()
    return render_template(
        "sse_demo.html",
        others=[user.id for user in USERS.values() if user.id != current_user.id],
    )


@blueprint.get("/dashboard")
def dashboard() -> ResponseReturnValue:
    """Show the figures of the whole server, and keep them up to date."""
    require_login()
    # The page needs no cursor: its stream begins with the state.
    return render_template("dashboard.html", figures=figures.current())


@blueprint.get("/chat")
def chat_page() -> ResponseReturnValue:
    """Show the conversation, and the questions that any tab asks from now on."""
    require_login()
    # The cursor comes first: an answer that is kept in between, or a question that is
    # asked, arrives by the stream. In the other order it would be nowhere.
    cursor = sse_hub.cursor()
    return render_template(
        "chat.html",
        stream_cursor=cursor,
        exchanges=conversations.recent(current_user.id),
        running=chat.running(),
        most_text=chat.MOST_TEXT,
        failing_word=language_model.FAILING_WORD,
        slow_word=language_model.SLOW_WORD,
    )


@blueprint.get("/import")
def import_page() -> ResponseReturnValue:
    """Show the form for a file, and the progress of its import."""
    require_login()
    # The cursor comes first, as above: an import that starts in between is told of.
    cursor = sse_hub.cursor()
    return render_template(
        "import.html",
        count=contacts.count(current_user.id),
        most_bytes=current_app.config["IMPORT_MAX_BYTES"],
        most_problems=imports.MOST_PROBLEMS,
        running=lasting.running("import"),
        stream_cursor=cursor,
    )


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """Say that this app answers; ``/events/health`` says whether streams work."""
    return jsonify(status="ok")
