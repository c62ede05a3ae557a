"""Write docs/api.md and docs/reference/ from the docstrings of the public names.

Run ``python -m docs.make_reference`` after changing a public name or its docstring. The
prose is in the docstrings; this module only lays it out. It reads signatures from the
source, so annotations and defaults look as their authors wrote them.
"""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

#: Objects that public methods return or take, and that nobody imports by these names.
_UNLISTED = {
    "LastingAnswers": "flask_sse_hub.web.answers",
    "StartedAnswer": "flask_sse_hub.web.answers",
    "TaskAnswer": "flask_sse_hub.answers.lasting.task",
    "RowChange": "flask_sse_hub.database.row_changes",
}

#: Modules whose comments ("#:") describe public types that can have no docstring.
_COMMENTED = ("flask_sse_hub.events.address", "flask_sse_hub.webhooks.schemes")

_LITERAL = re.compile(r"^(?P<lead>.*?):?:$")
_SECTION = re.compile(r"^(Args|Returns|Raises):$")
_ITEM = re.compile(r"^(?P<name>\*{0,2}\w+): (?P<text>.*)$")
_ERROR = re.compile(r"(?<![\w`\[#/])([A-Z]\w+[a-z][A-Z]\w+)(?![\w`\]])")
_WIDTH = 88

_API_HEAD = """# API

`python -m docs.make_reference` writes this page, and the pages that it links to, from
the docstrings. `help(SSEHub)` says the same. Import everything from `flask_sse_hub`,
unless the section names another module.

Guides with samples: [publish events](publishing.md), [over HTTP](http-publishing.md),
[streams and channels](streams.md), [set up a page](page-setup.md), [the stream of one
request](responses.md), [presence](presence.md), [answers](answers.md),
[testing](testing.md).

On the command line, `flask sse --help` lists the [commands](operations.md#on-call).
`GET /events/console` is [a page for people on call](operations.md#the-console).
[OpenTelemetry and Sentry](tracing.md) see each publish, if the app uses them.
"""

#: Objects that calls return: their constructors are of no use to apps.
RETURNED = {
    *("AnswerStatus", "ClientStats", "CloseReason", "Delivery", "HubStats"),
    *("LastingAnswers", "LogBatch", "LogState", "MachineStats", "PendingEvent"),
    *("Presence", "PresenceList", "PublishedEvent", "Receipt", "ReceivedEvent"),
    *("Replay", "RowChange", "StartedAnswer", "TaskAnswer", "WorkerStats"),
}

#: Public methods that only other parts of the package call.
INTERNAL = {
    *("LastingAnswers.respond", "TaskAnswer.look", "PendingEvent.become"),
    *("PendingEvent.published", "Event.encode", "ClientStats.of", "CloseReason.of"),
    *("PublishedEvent.of", "EventTypes.encode", "EventTypes.item"),
    *("EventTypes.type_of", "EventTypes.types_of", "EventTypes.schemas"),
    *("Clock.wait", "Clock.notify", "Clock.keep_time_of", "Outbox.engine"),
}


@dataclass(frozen=True)
class Page:
    """A page of the reference: its file, title, first paragraph and public names."""

    file: str
    title: str
    intro: str
    names: tuple[str, ...]
    module: str = "flask_sse_hub"
    example: str = ""


PAGES = (
    Page(
        "sse-hub",
        "The extension",
        "One object for each app, or for several. [Publish events](../publishing.md)"
        " and [Streams and channels](../streams.md) are the guides.",
        ("SSEHub",),
    ),
    Page(
        "publisher",
        "The publisher",
        "For processes that are not the app: [Publishing from outside the"
        " app](../publishing.md#publishing-from-outside-the-app).",
        ("Publisher", "TaskAnswer"),
    ),
    Page(
        "answers",
        "Answers",
        "Guides: [The stream of one request](../responses.md), and [Answers that"
        " outlive their reader](../answers.md), which are `sse_hub.answers`.",
        (
            *("EventSourceResponse", "Batch", "Progress", "LastingAnswers"),
            *("StartedAnswer", "AnswerStatus"),
        ),
    ),
    Page(
        "events",
        "Events",
        "Guides: [Publish events](../publishing.md), [Typed events](../typed-events.md)"
        " and [Events that follow the database](../database.md).",
        (
            *("Event", "EventTypes", "Target", "turbo_stream", "datastar_patch"),
            *("datastar_signals", "Outbox", "PendingEvent", "RowChange"),
        ),
    ),
    Page(
        "results",
        "Presence, receipts and statistics",
        "What the hub tells: [Presence](../presence.md), [Receipts](../receipts.md),"
        " [Operations](../operations.md).",
        (
            *("Presence", "PresenceList", "Receipt", "HubStats", "ClientStats"),
            *("MachineStats", "WorkerStats", "CloseReason", "JsonFormatter"),
        ),
    ),
    Page(
        "signals",
        "Signals",
        "Signals are [blinker](https://blinker.readthedocs.io)'s, and their sender is"
        " the app. Receivers of `client_connected` and `client_disconnected` run"
        " in the stream's greenlet or thread, without an app context: use"
        " `with sender.app_context():` for the database. An error in a receiver is"
        " logged and not raised.",
        (
            *("client_connected", "client_disconnected", "user_came", "user_left"),
            *("channel_occupied", "channel_vacated", "event_published"),
            *("event_unheard", "event_lost"),
        ),
        example="""@client_disconnected.connect_via(app)
def ended(sender, client, reason):
    sender.logger.info("%s left: %s", client.user_id, reason)""",
    ),
    Page(
        "errors",
        "Errors",
        "`except SSEHubError` catches every error of the package. An unknown keyword,"
        " or an argument that needs one, is Python's `TypeError`. Its text names the"
        " right word: `publish() has no argument room=. Use channel=.`",
        (
            *("SSEHubError", "InvalidArgument", "InvalidTarget", "InvalidName"),
            *("InvalidEvent", "EventTooLarge", "InvalidMetadata", "InvalidTicket"),
            *("InvalidOption", "ConfigurationError", "UnsupportedServer"),
            *("BrokerUnavailable", "StateFull", "ClientRefused", "TooManyStreams"),
            *("TooManyAnswers", "InvalidSignature"),
        ),
        example="""try:
    sse_hub.publish("shipped", user=42, idempotency_key="order-7-shipped")
except BrokerUnavailable:
    # The outcome is unknown. With the key, a second attempt appends nothing twice.
    retry_later()""",
    ),
    Page(
        "testing",
        "The test kit",
        "[Testing](../testing.md) has samples and the fixtures for pytest.",
        (
            *("Stream", "Published", "PublishedEvent", "ReceivedEvent", "People"),
            *("Clock", "fresh_hub", "Parser", "EventMissing", "UnexpectedEvent"),
        ),
        module="flask_sse_hub.testing",
    ),
    Page(
        "webhooks",
        "Webhooks",
        "[Webhooks](../webhooks.md) has whole samples.",
        (
            *("webhook", "Delivery", "Scheme", "GitHub", "Stripe"),
            *("StandardWebhooks", "HMAC", "Secrets"),
        ),
        module="flask_sse_hub.webhooks",
    ),
    Page(
        "brokers",
        "Brokers",
        "The contract for [a broker of your"
        " own](../design/brokers.md#writing-a-broker). Apps choose a broker by"
        " `SSE_HUB_BROKER_URL`: [Brokers](../brokers.md).",
        (
            *("Broker", "LogBatch", "LogState", "Replay", "MemoryBroker"),
            *("create_broker", "check_url", "check_name", "is_redis"),
        ),
        module="flask_sse_hub.brokers",
    ),
)


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path in docs/ and the text of each generated page."""
    for page in PAGES:
        yield f"reference/{page.file}.md", _text_of(page)
    yield "api.md", _index()


def entries() -> Iterator[tuple[Page, str, Any]]:
    """Yield each documented name with its page: ``SSEHub``, ``SSEHub.publish``, ..."""
    for page in PAGES:
        for name in page.names:
            found = getattr(import_module(_UNLISTED.get(name, page.module)), name)
            yield page, name, found
            if inspect.isclass(found):
                for member, value in members(found):
                    if f"{name}.{member}" not in INTERNAL:
                        yield page, f"{name}.{member}", value


def members(found: type) -> list[tuple[str, Any]]:
    """Return the methods and properties that a class does not owe to another page.

    Methods that Python, Flask or a public class above it define are explained there.
    """
    own = []
    for name in sorted({name for base in found.__mro__ for name in vars(base)}):
        value = inspect.getattr_static(found, name)
        value = getattr(value, "__func__", value)
        is_member = inspect.isfunction(value) or isinstance(value, property)
        if not name.startswith("_") and is_member and not _is_elsewhere(found, name):
            own.append((name, value))
    return own


def _is_elsewhere(found: type, name: str) -> bool:
    bases = [base for base in found.__mro__[1:] if name in vars(base)]
    return any(
        not base.__module__.startswith("flask_sse_hub") or base.__name__ in _places()
        for base in bases
    )


def examples(found: Any) -> list[str]:
    """Return the blocks of code in the docstring of an object."""
    return [text for kind, text in _blocks(doc_of(found)) if kind == "code"]


def doc_of(found: Any) -> str:
    """Return the docstring of an object, "" if it has none of its own."""
    text = vars(found).get("__doc__") if inspect.isclass(found) else found.__doc__
    if isinstance(text, str) and text != type(found).__doc__:
        return inspect.cleandoc(text)
    return _comments().get(id(found), "")


def parameters(found: Any) -> list[str]:
    """Return the names of the arguments of a function or of a class."""
    arguments = _definition(found)
    return [] if arguments is None else [each.arg for each in _all(arguments.args)]


def anchor(name: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")


# The pages


@cache
def _places() -> dict[str, str]:
    """Return the file and anchor of each public name."""
    return {
        name: f"{page.file}.md#{anchor(name)}" for page in PAGES for name in page.names
    }


def _index() -> str:
    lines = [_API_HEAD]
    page = None
    for place, name, found in entries():
        if place is not page:
            page = place
            lines.append(f"\n## {page.title}\n")
            if page.module != "flask_sse_hub":
                lines.append(f"From `{page.module}`:\n")
        link = f"reference/{place.file}.md#{anchor(name)}"
        summary = doc_of(found).split("\n\n")[0].replace("\n", " ")
        lines.append(f"* [`{name}`]({link}): {_linked(summary.rstrip(':'), None)}")
    return "\n".join(lines) + "\n"


def _text_of(page: Page) -> str:
    parts = [
        f"# {page.title}",
        "<!-- Written by `python -m docs.make_reference`. -->",
        page.intro,
    ]
    if page.module != "flask_sse_hub":
        parts.append(f"Import these names from `{page.module}`.")
    if page.example:
        parts.append(f"For example:\n\n```python\n{page.example}\n```")
    for each, name, found in entries():
        if each is page:
            parts += [
                f"{'###' if '.' in name else '##'} {name}",
                *_section(name, found),
            ]
    return "\n\n".join(parts) + "\n"


def _section(name: str, found: Any) -> Iterator[str]:
    shared = _shared(name, found)
    is_error = inspect.isclass(found) and issubclass(found, BaseException)
    if not is_error and (inspect.isclass(found) or inspect.isfunction(found)):
        if name not in RETURNED and (signature := signature_of(name, found)):
            yield f"```python\n{signature}\n```"
    elif is_error:
        above = [each.__name__ for each in found.__mro__[1:-2]]
        kinds = ", ".join(_code(each) for each in above if each != "Exception")
        yield f"Error. Also caught by: {kinds}." if kinds else "The root of all errors."
    if shared:
        first = doc_of(found).split("\n\n")[0]
        yield _linked(first, name)
        place = f"sse-hub.md#{anchor(shared)}"
        yield f"Arguments, result and errors are those of [`{shared}`]({place})."
        return
    yield from _markdown(name, doc_of(found))
    if inspect.isclass(found) and not is_error:
        yield from _fields(found)
        above = [
            each.__name__ for each in found.__mro__[1:] if each.__name__ in _places()
        ]
        if above:
            yield f"It also has the methods of {', '.join(map(_code, above))}."


def _shared(name: str, found: Any) -> str | None:
    """Return the hub's name of a method that a publisher has too."""
    owner, _, method = name.partition(".")
    hub = import_module("flask_sse_hub").SSEHub
    if owner == "Publisher" and inspect.getattr_static(hub, method, None) is found:
        return f"SSEHub.{method}"
    return None


def _fields(found: type) -> Iterator[str]:
    notes = field_notes(found)
    if issubclass(found, enum.Enum):
        yield "\n".join(
            f"* `{each.value}`: {_linked(notes.get(each.name, ''), None)}"
            for each in found
        )
    elif is_dataclass(found) and "__init__" not in _own_source(found):
        # An argument that the docstring explains is not listed twice.
        listed = [
            f"* `{each.name}`: `{_annotation(each.type)}`."
            f" {_linked(notes.get(each.name, ''), None)}".rstrip()
            for each in fields(found)
            if not each.name.startswith("_")
        ]
        if listed and "Args:" not in doc_of(found):
            yield "Attributes:\n\n" + "\n".join(listed)


def _annotation(text: Any) -> str:
    named = text if isinstance(text, str) else inspect.formatannotation(text)
    return re.sub(r"\b(collections\.abc|typing)\.|flask_sse_hub\.[\w.]+\.", "", named)


def field_notes(found: type) -> dict[str, str]:
    """Return the comment ("#:") of each field; it holds for fields below it too."""
    return _notes(_own_source(found), spread=True)


def _own_source(found: type) -> str:
    return textwrap.dedent(inspect.getsource(found))


def _notes(source: str, *, spread: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    text, fresh = "", False
    for line in map(str.strip, source.splitlines()):
        if comment := re.match(r"#: (.*)", line):
            text = f"{text} {comment[1]}" if fresh else comment[1]
            fresh = True
        elif field := re.match(r"(\w+)(:| =) ?", line):
            if text and (spread or fresh):
                found[field[1]] = text
            fresh = False
        elif not line:
            text, fresh = text if spread else "", False
    return found


@cache
def _comments() -> dict[int, str]:
    """Return the comments above public types such as Target, by their identity."""
    return {
        id(getattr(module, name)): text
        for module in map(import_module, _COMMENTED)
        for name, text in _notes(inspect.getsource(module), spread=False).items()
        if name in _places() and hasattr(module, name)
    }


# Signatures


def _definition(found: Any) -> ast.FunctionDef | None:
    """Return the parsed function, or the constructor of a class that has its own."""
    if inspect.isclass(found):
        found = vars(found).get("__init__")
    if not inspect.isfunction(found):
        return None
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(found)))
    except OSError:
        return None  # a dataclass's own
    (parsed,) = ast.parse(source).body
    return parsed if isinstance(parsed, ast.FunctionDef) else None


def _all(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [each for each in found if each.arg not in ("self", "cls")]


def signature_of(name: str, found: Any) -> str:
    """Return the call of a public name with annotations and defaults, "" for none."""
    short = name.rpartition(".")[2]
    parsed = _definition(found)
    if parsed is None:
        if not is_dataclass(found):
            return ""
        given = [_field(each) for each in fields(found) if each.init]
        kept = all(each.kw_only for each in fields(found))
        return _laid_out(short, [*(["*"] if kept else []), *given], "", keyword="class")
    arguments = parsed.args
    arguments.args = [
        each for each in arguments.args if each.arg not in ("self", "cls")
    ]
    parts = [_spaced(each) for each in _split(ast.unparse(arguments))]
    if inspect.isclass(found):
        return _laid_out(short, parts, "", keyword="class")
    returns = "" if parsed.returns is None else f" -> {ast.unparse(parsed.returns)}"
    return _laid_out(short, parts, returns.replace("'", ""), keyword="def")


def _field(field: Any) -> str:
    text = f"{field.name}: {_annotation(field.type)}"
    return (
        text
        if field.default.__class__.__name__ == "_MISSING_TYPE"
        else f"{text} = {field.default!r}"
    )


def _spaced(argument: str) -> str:
    """Return an argument with spaces around the "=" of a default, as Ruff has them."""
    return re.sub(r"^(\w+: [^=]+)=", r"\1 = ", argument)


def _split(text: str) -> list[str]:
    """Split arguments at the commas between them."""
    parts, depth, last = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(text[last:place].strip())
            last = place + 1
    return [*parts, text[last:].strip()] if text else []


def _laid_out(name: str, parts: list[str], returns: str, *, keyword: str) -> str:
    parts = [re.sub(r"'([^']*\|[^']*)'", r"\1", each) for each in parts]
    line = f"{keyword} {name}({', '.join(parts)}){returns}: ..."
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {each},\n" for each in parts)
    return f"{keyword} {name}(\n{inner}){returns}: ..."


# Docstrings


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Split a docstring into ``("text" | "code" | a section's name, text)``."""
    lines = text.splitlines()
    kind: str = "text"
    kept: list[str] = []
    place = 0

    def indented() -> list[str]:
        nonlocal place
        found = []
        while place < len(lines) and (
            not lines[place] or lines[place].startswith("    ")
        ):
            found.append(lines[place])
            place += 1
        return found

    while place < len(lines):
        line = lines[place]
        place += 1
        if section := _SECTION.match(line):
            yield kind, "\n".join(kept).strip()
            kept = []
            yield section[1], textwrap.dedent("\n".join(indented())).strip()
        elif line.endswith("::"):
            kept.append(line[:-1])
            yield kind, "\n".join(kept).strip()
            kept = []
            yield "code", textwrap.dedent("\n".join(indented())).strip("\n")
        else:
            kept.append(line)
    yield kind, "\n".join(kept).strip()


def _markdown(name: str, text: str) -> Iterator[str]:
    for kind, block in _blocks(text):
        if not block:
            continue
        if kind == "code":
            yield f"```python\n{block}\n```"
        elif kind == "text":
            yield _linked(block, name)
        else:
            title = {"Args": "Arguments"}.get(kind, kind)
            yield f"**{title}**"
            yield _items(block, name) if kind != "Returns" else _linked(block, name)


def _items(block: str, name: str) -> str:
    """Lay out the arguments or the errors of a docstring as a list."""
    lines = []
    for line in block.splitlines():
        item = _ITEM.match(line)
        if item is None:
            lines.append(f"  {_linked(line.strip(), name)}" if line else "")
        else:
            lines.append(f"* {_code(item['name'])}: {_linked(item['text'], name)}")
    return "\n".join(lines)


def _code(name: str) -> str:
    place = _places().get(name)
    return f"`{name}`" if place is None else f"[`{name}`]({place})"


def _linked(text: str, name: str | None) -> str:
    """Turn a text of docstrings into Markdown, with links to other public names."""

    def code(match: re.Match[str]) -> str:
        inner = match[1]
        bare = inner.removesuffix("()")
        place = _places().get(bare)
        if place is None or (name is not None and bare == name.split(".")[0]):
            return f"`{inner}`"
        return f"[`{inner}`]({place if name is not None else f'reference/{place}'})"

    text = re.sub(r"``(.+?)``", code, text, flags=re.DOTALL)
    text = _ERROR.sub(
        lambda found: code(found) if found[1] in _places() else found[0], text
    )
    return re.sub(r"(?<![`\w/<(])(https?://\S+?)(?=[.,]?(?:\s|$))", r"<\1>", text)


def main() -> None:
    """Write all pages."""
    (FOLDER / "reference").mkdir(exist_ok=True)
    for path, text in pages():
        (FOLDER / path).write_text(text)


if __name__ == "__main__":
    main()
