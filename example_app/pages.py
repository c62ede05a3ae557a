"""The pages."""

from flask import Blueprint, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user

from . import chat, contacts, conversations, figures, imports, language_model
from .extensions import sse_hub
from .users import USERS, require_login

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> str:
    """Show what there is to see."""
    return render_template("index.html")


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
    """Show the figures of this worker, now and from now on."""
    require_login()
    # The order matters. What is published between these two lines is in the figures and
    # comes once more: harmless, for each event has all figures. The other way round it
    # would be in neither, and the page wrong until the next event.
    cursor = sse_hub.cursor()
    state = figures.state()
    return render_template("dashboard.html", state=state, cursor=cursor)


@blueprint.get("/chat")
def chat_page() -> ResponseReturnValue:
    """Show the conversation, and what is asked from now on, in whichever tab."""
    require_login()
    # First the cursor, as above: an answer that is kept in between comes by the stream.
    cursor = sse_hub.cursor()
    return render_template(
        "chat.html",
        stream_cursor=cursor,
        exchanges=conversations.recent(current_user.id),
        most_text=chat.MOST_TEXT,
        failing_word=language_model.FAILING_WORD,
    )


@blueprint.get("/import")
def import_page() -> ResponseReturnValue:
    """Show the form for a file, and how far its import is."""
    require_login()
    return render_template(
        "import.html",
        count=contacts.count(current_user.id),
        most_bytes=current_app.config["IMPORT_MAX_BYTES"],
        most_problems=imports.MOST_PROBLEMS,
    )


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """Say that this app answers; ``/events/health`` says whether streams work."""
    return jsonify(status="ok")
