"""The live site with the documentation's pages, and the files that the pages load."""

import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flask import Blueprint, Flask, Response, abort, render_template_string, request
from flask_login import current_user, login_required

from flask_sse_hub import EventSourceResponse
from tests.documented.samples import sample
from tests.live import site

_TESTS = Path(__file__).parents[1]
_MODULES = _TESTS / "node_modules"

#: The source of each file that a page loads from /static.
FILES = {
    "alpine.min.js": _MODULES / "alpinejs/dist/cdn.min.js",
    "htmx.min.js": _MODULES / "htmx.org/dist/htmx.min.js",
    "htmx-ext-sse.min.js": _MODULES / "htmx-ext-sse/dist/sse.min.js",
    "htmx4.min.js": _MODULES / "htmx4/dist/htmx.min.js",
    "hx-sse.min.js": _MODULES / "htmx4/dist/ext/hx-sse.min.js",
    "turbo.js": _MODULES / "@hotwired/turbo/dist/turbo.es2017-esm.js",
}

#: The package that contains Datastar, or None before it is downloaded.
DATASTAR = next(_TESTS.glob("wheels/starhtml-*.whl"), None)
_DATASTAR_FILE = "starhtml/static/js/datastar-core.js"


#: The items of the answer at /ask.
ANSWER = [{"content": word, "done": word == "end"} for word in ("once", "upon", "end")]


def sseclient_of_pypi() -> str | None:
    """Return the code of PyPI's sseclient, None before it is downloaded."""
    path = next(_TESTS.glob("wheels/sseclient-*.tar.gz"), None)
    if path is None:
        return None
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/sseclient.py")
        assert file is not None
        return file.read().decode()


class Sample(NamedTuple):
    """The code blocks of a how-to page: an HTML page and its views."""

    html: str
    views: str


def _sample(page: str, *, html: str, views: tuple[str, ...] = ("@app.get",)) -> Sample:
    path = f"docs/{page}.md"
    return Sample(
        sample(path, "html", with_=html),
        "\n".join(sample(path, "python", with_=each) for each in views),
    )


#: Samples by the path of their page.
PAGES = {
    "htmx": _sample(
        "htmx", html="htmx-ext-sse.min.js", views=("@app.get", 'type="note"')
    ),
    "htmx4": _sample(
        "htmx", html="htmx4.min.js", views=("@app.get", "# without a type")
    ),
    "turbo": _sample("turbo", html="<turbo-stream-source"),
    "datastar": _sample("datastar", html="datastar.js"),
    "alpine": _sample("alpine", html="alpine.min.js"),
}


class Note(NamedTuple):
    """A note, as the pages show and receive it."""

    id: int
    text: str


def create_app() -> Flask:
    app = site.create_app()
    app.view_functions["static"] = _static
    notes: list[Note] = []
    for name, page in PAGES.items():
        app.register_blueprint(_pages(name, notes, page))
    _note_requests(app, notes)
    _answer(app)
    return app


def _answer(app: Flask) -> None:
    """Add an answer, and count how often its model is asked."""
    models = {"asked": 0}

    def answer() -> Iterator[dict[str, Any]]:
        models["asked"] += 1
        for item in ANSWER:
            yield item
            # A model that thinks for a few heartbeats.
            threading.Event().wait(0.1)

    @app.route("/ask", methods=["GET", "POST"])
    def ask() -> Response:
        return EventSourceResponse(answer(), heartbeat=0.02)

    @app.get("/models")
    def tell_asked() -> dict[str, int]:
        return models

    @app.post("/forget-models")
    def forget_models() -> str:
        models["asked"] = 0
        return "as if none had been asked"


def _static(filename: str) -> Response:
    if filename == "datastar.js" and DATASTAR is not None:
        with zipfile.ZipFile(DATASTAR) as wheel:
            content = wheel.read(_DATASTAR_FILE)
    elif filename in FILES:
        content = FILES[filename].read_bytes()
    else:
        abort(404)
    return Response(content, mimetype="text/javascript")


def _pages(name: str, notes: list[Note], page: Sample) -> Blueprint:
    """Return the views of a how-to page, under a path of its own."""
    pages = Blueprint(name, __name__, url_prefix=f"/{name}")
    names: dict[str, Any] = {
        "app": pages,
        "sse_hub": site.sse_hub,
        "current_user": current_user,
        "login_required": login_required,
        "load_notes": lambda: notes,
        "save_note": _saver(notes),
        "request": request,
        "render_template": lambda _, **context: render_template_string(
            page.html, **context
        ),
        "render_template_string": render_template_string,
    }
    exec(page.views, names)  # noqa: S102
    return pages


def _saver(notes: list[Note]) -> Callable[[str], Note]:
    def save(text: str) -> Note:
        notes.append(Note(len(notes), text))
        return notes[-1]

    return save


def _note_requests(app: Flask, notes: list[Note]) -> None:
    """Record the ids of stream requests, and refuse the next request when asked to."""
    asked: list[dict[str, str | None]] = []
    refusals: list[int] = []

    @app.before_request
    def note() -> Response | None:
        if request.path != "/events":
            return None
        header = request.headers.get("Last-Event-ID")
        asked.append({"header": header, "query": request.args.get("last_event_id")})
        if not refusals:
            return None
        return Response(status=refusals.pop(), headers={"Retry-After": "0"})

    @app.after_request
    def note_coding(response: Response) -> Response:
        if request.path == "/events":
            asked[-1]["coding"] = response.content_encoding
        return response

    @app.get("/asked")
    def tell() -> list[dict[str, str | None]]:
        return asked

    @app.get("/cursor")
    def cursor() -> str:
        return site.sse_hub.cursor()

    @app.post("/refuse/<int:status>")
    def refuse(status: int) -> str:
        refusals.append(status)
        return "the next one"

    @app.post("/forget")
    def forget() -> str:
        for each in (asked, refusals, notes):
            each.clear()
        return "as if nobody had been here"
