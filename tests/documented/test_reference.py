"""The reference is written from the docstrings, and the examples in docstrings run."""

import dataclasses
import enum
import hashlib
import hmac
import inspect
import logging
import os
import pydoc
import re
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import flask
import flask_login
import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from docs.make_reference import (
    FOLDER,
    INTERNAL,
    PAGES,
    RETURNED,
    doc_of,
    entries,
    examples,
    pages,
    parameters,
)
from flask_sse_hub import Publisher, SSEHub
from tests.documented.samples import ROOT, samples
from tests.kit.public_api import MODULES

ENTRIES = [(name, found) for _, name, found in entries()]

#: The contract for brokers speaks of cursors and records to its implementer. A broker
#: of one's own is the example: docs/design/brokers.md.
_CONTRACT = ("Broker", "MemoryBroker")

#: The code of all pages; each block is compared, and each example is run.
TAKEN = [samples(f"docs/reference/{page.file}.md", "python") for page in PAGES]


def test_the_reference_is_written_from_the_docstrings() -> None:
    """`python -m docs.make_reference` writes its pages, and no others are there."""
    written = dict(pages())
    for path, text in written.items():
        assert (FOLDER / path).read_text() == text, path
    there = {f"reference/{path.name}" for path in (FOLDER / "reference").iterdir()}
    assert there == set(written) - {"api.md"}


def test_every_public_name_has_a_heading() -> None:
    """Each name of the list of public names is a heading to link to."""
    listed = (ROOT / "tests/kit/public_api.txt").read_text()
    prefix = "|".join(sorted(map(re.escape, MODULES), reverse=True))
    names = set(re.findall(rf"^(?:{prefix})\.([\w.]+)", listed, re.M))
    headings = {name for name, _ in ENTRIES}
    elsewhere = {name for name in names - headings if is_documented_above(name)}
    assert names - headings - elsewhere - INTERNAL == set()


def is_documented_above(name: str) -> bool:
    """Tell whether a method is that of a public class above, of Flask or of Python."""
    owner, _, method = name.partition(".")
    found = dict(ENTRIES)[owner]
    return any(
        method in vars(base)
        and (
            f"{base.__name__}.{method}" in dict(ENTRIES)
            or not base.__module__.startswith("flask_sse_hub")
        )
        for base in found.__mro__[1:]
    )


def test_every_docstring_is_complete() -> None:
    """It explains each argument; only results and brokers are described otherwise."""
    missing = []
    for name, found in ENTRIES:
        text = doc_of(found)
        if not text:
            missing.append(name)
        if name in RETURNED or name.split(".")[0] in _CONTRACT:
            continue
        missing += [
            f"{name}: {each}"
            for each in ([] if isinstance(found, property) else parameters(found))
            if f"``{each}``" not in text
            and not re.search(rf"^ +\*{{0,2}}{each}: ", text, re.M)
        ]
    assert missing == []


def test_every_call_has_an_example() -> None:
    """The example is in the docstring, or in that of the class."""
    assert [name for name, found in ENTRIES if not has_example(name, found)] == []


def has_example(name: str, found: Any) -> bool:
    owner, _, _ = name.partition(".")
    above = dict(ENTRIES)[owner]
    is_kind = inspect.isclass(found) and (
        issubclass(found, (BaseException, enum.Enum)) or inspect.isabstract(found)
    )
    is_call = inspect.isclass(found) or inspect.isfunction(found)
    if is_kind or not is_call or name in RETURNED or owner in _CONTRACT:
        return True
    if owner in RETURNED and not examples(above):
        return True  # a small method of a result, such as Delivery.json()
    word = name.rpartition(".")[2]
    used = [*examples(found), *examples(above)]
    return any(re.search(rf"\b{word}\b", code) for code in used)


def test_help_of_the_hub_reads_well() -> None:
    """It has each method with its argument lists, and no line is wider than a shell."""
    text = pydoc.plain(pydoc.render_doc(SSEHub))
    for method in ("publish", "stream", "ticket", "disconnect", "script"):
        assert f" {method}(self, " in text
    assert "Raises:" in text
    assert "For example::" in text


EXAMPLES = [
    *(
        pytest.param(code, id=f"{name}-{number}")
        for name, found in ENTRIES
        for number, code in enumerate(examples(found))
        # A publisher's methods are those of the hub.
        if not name.startswith("Publisher.") or name in ("Publisher.answer",)
    ),
    *(pytest.param(page.example, id=page.file) for page in PAGES if page.example),
]


class Member(flask_login.UserMixin):  # type: ignore[misc]
    """A member of a team."""

    id = "42"
    name = "Ada"
    team_id = 7


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that the examples use, and an app whose visitors are all user 42."""
    for secret in ("GITHUB_SECRET", "STRIPE_SECRET", "WEBHOOK_SECRET"):
        monkeypatch.setenv(secret, "c2VjcmV0")
    url = f"sqlite:///{tmp_path}/events.db"
    app = flask.Flask("shop", instance_path=str(tmp_path))
    app.config.update(
        SECRET_KEY="a key for tests",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SSE_HUB_BROKER_URL=url,
        SSE_HUB_PRESENCE=["room.*"],
        SSE_HUB_PUBLIC_CHANNELS=["*"],
    )
    manager = flask_login.LoginManager(app)
    manager.request_loader(lambda _: Member())
    db = SQLAlchemy(app)

    class Order(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int]

    hub = SSEHub(app)
    app.post("/orders/<int:number>/ship")(
        lambda number: hub.publish({"number": number}, type="shipped", user=42)
    )
    publisher = Publisher(url, create=True)
    found: dict[str, Any] = {}
    for module in (*map(import_module, MODULES), flask, flask_login, dataclasses):
        found |= (
            {name: getattr(module, name) for name in module.__all__}
            if hasattr(module, "__all__")
            else vars(module)
        )
    found |= {
        "app": app, "db": db, "sse_hub": hub, "Order": Order, "SQLAlchemy": SQLAlchemy,
        "url": url, "publisher": publisher, "Path": Path,
        "logging": logging, "os": os, "time": time, "secret": "secret", "html": "<p>",
        "job_id": "job-7", "rows": [1, 2], "tokens": ["hel", "lo"], "load": str,
        "store": str, "load_orders": list, "users": {}, "send_mail": str,
        "retry_later": str, "complete": list, "answer": list, "question": "why?",
    }  # fmt: skip
    yield found
    app.extensions["sse_hub"].close()
    for each in found.values():
        if isinstance(each, Publisher):
            each.close()


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(names: dict[str, Any], code: str) -> None:
    """It runs in a request of user 42, and each view that it adds can be called."""
    app = names["app"]
    before = {rule.endpoint for rule in app.url_map.iter_rules()}
    if "sse_hub.init_app(app)\nsse_hub" in code:
        app = names["app"] = flask.Flask("another")
        app.config["SSE_HUB_BROKER_URL"] = "memory://"
        before = {"static", *(name for name in before if name.startswith("sse_hub."))}
    digest = hmac.new(b"secret", b"{}", hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}"}
    code = code.replace("sqlite:////srv/app/instance/sse_hub.db", names["url"])
    with app.test_request_context("/", method="POST", data=b"{}", headers=headers):
        if "Publisher(" in code:
            names["sse_hub"].publish("an app has begun the log")
        if "db.session" in code:
            names["db"].create_all()
        exec(code, names)  # noqa: S102
    for rule in app.url_map.iter_rules():
        if rule.endpoint in before:
            continue
        path = re.sub("<.*?>", "an-answer", rule.rule)
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        sent = {"question": "why?"}
        client = app.test_client()
        with closing(client.open(path, method=method, json=sent)) as answer:
            assert answer.status_code < 500, answer.text
