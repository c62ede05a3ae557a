"""The links below each page: the code behind it, and the guide that explains it.

Only the listed files can be read. The guides are there if the app runs from a clone.
"""

from pathlib import Path

from flask import Blueprint, Flask, abort, request, send_file
from flask.typing import ResponseReturnValue

blueprint = Blueprint("sources", __name__)

_ROOT = Path(__file__).parents[1]

#: The source and the guide of each page, by its endpoint.
FILES = {
    "pages.index": ("example_app/__init__.py", "docs/quickstart.md"),
    "pages.sse_demo": ("example_app/static/js/demo.js", "docs/browser.md"),
    "pages.dashboard": ("example_app/figures.py", "docs/streams.md"),
    "pages.chat_page": ("example_app/chat.py", "docs/chat.md"),
    "pages.import_page": ("example_app/imports.py", "docs/jobs.md"),
}


@blueprint.get("/source/<path:name>")
def show(name: str) -> ResponseReturnValue:
    """Show a listed file as text."""
    listed = any(name in files for files in FILES.values())
    if not listed or not (_ROOT / name).exists():
        abort(404)
    return send_file(_ROOT / name, mimetype="text/plain", max_age=0)


def init_app(app: Flask) -> None:
    """Let templates know the files of the page that they show."""
    app.register_blueprint(blueprint)
    app.context_processor(lambda: {"sources": FILES.get(request.endpoint or "", ())})
