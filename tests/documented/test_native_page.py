"""The clients of docs/native.md: React Native's runs, the others by their form."""

import re
import shutil
from pathlib import Path

import pytest

from tests.documented.samples import ROOT, sample
from tests.documented.shell import Shell, commands, flask_run
from tests.wire.real_parts import absent

PAGE = "docs/native.md"
PROGRAMS = {
    "dart": sample(PAGE, "dart", with_="class EventStream"),
    "go": sample(PAGE, "go", with_="package main"),
    "swift": sample(PAGE, "swift", with_="URLSession"),
    "kotlin": sample(PAGE, "kotlin", with_="OkHttpClient"),
}

INSTALL = sample(PAGE, "sh", with_="npm install ./sse-hub")
MODULE = sample(PAGE, "js", with_="// events.js")
OLDER_EXPO = sample(PAGE, "js", with_='"expo/fetch"')

_TEXT_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*')
_PAIRS = {")": "(", "]": "[", "}": "{"}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_is_whole(language: str) -> None:
    """Each bracket has its other one, so nothing was lost in an edit of the page."""
    left = []
    for sign in _TEXT_OR_COMMENT.sub("", PROGRAMS[language]):
        if sign in _PAIRS.values():
            left.append(sign)
        elif sign in _PAIRS:
            assert left, f"a {sign} too many"
            assert left.pop() == _PAIRS[sign]
    assert left == []


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_speaks_as_the_hub_reads(language: str) -> None:
    """It asks for a stream with its token and last id, and obeys refusals."""
    code = PROGRAMS[language]
    for part in ("text/event-stream", "Bearer ", "Last-Event-ID", "Retry-After"):
        assert part.lower() in code.lower()
    for status in ("204", "401", "403", "404"):
        assert status in code


APP = """
from flask import Flask
from flask_login import LoginManager, UserMixin

from flask_sse_hub import SSEHub

app = Flask(__name__)
app.config.update(SECRET_KEY="a key for tests", SSE_HUB_RETRY=(0.05, 0.1))
sse_hub = SSEHub(app)
login_manager = LoginManager(app)


class User(UserMixin):
    id = "ada"


@login_manager.request_loader
def load(request):
    token = request.authorization and request.authorization.token
    return User() if token == "a token" else None


@app.post("/cut")
def cut():
    sse_hub.disconnect(user="ada")
    return sse_hub.publish({"text": "missed"}, type="note", user="ada")


@app.post("/note/<text>")
def note(text):
    return sse_hub.publish({"text": text}, type="note", user="ada")
"""

# React Native has no document, and tells of the foreground by AppState.
_REACT_NATIVE = """
const listeners = new Set();
export const AppState = {
  addEventListener(type, listener) {
    listeners.add(listener);
    return { remove: () => listeners.delete(listener) };
  },
  come: () => listeners.forEach((listener) => listener("active")),
  get listeners() { return listeners.size; },
};
"""

# The responses of expo/fetch have this much of a Response. Older versions take a text.
_EXPO = """
const node = globalThis.fetch;
export async function fetch(url, options) {
  if (TEXT_ONLY && typeof url !== "string") throw new TypeError("the URL is no text");
  const { status, ok, headers, body } = await node(`${url}`, options);
  return { status, ok, headers, body };
}
"""

_RUN = """
import { AppState } from "./react-native.mjs";
import { fetch } from "./expo-fetch.mjs";
import "./older-expo.mjs";
if (!TEXT_ONLY) globalThis.fetch = fetch;
const { listen } = await import("./events.mjs");
const on = {
  connected: ({ resumed }) => console.log("connected", resumed),
  note({ text }) {
    console.log("note", text);
    if (text === "come") AppState.come();
    if (text === "leave") {
      close();
      console.log("left", AppState.listeners);
    }
  },
};
const close = listen("a token", on, ({ reason }) => console.log("reset", reason));
"""


@pytest.mark.live
@pytest.mark.parametrize("expo", ["SDK 53", "SDK 56"])
def test_the_client_for_react_native_resumes_and_leaves(
    tmp_path: Path, expo: str
) -> None:
    """It needs no document. After the last close, nothing keeps the process."""
    if shutil.which("node") is None:
        absent("node", remedy="install Node.js")
    text_only = "true" if expo == "SDK 53" else "false"
    replaced = {
        '"react-native"': '"./react-native.mjs"',
        '"expo/fetch"': '"./expo-fetch.mjs"',
        '"sse-hub"': f'"{(ROOT / "flask_sse_hub/static/sse-hub.js").as_uri()}"',
        "https://app.example": "http://127.0.0.1:5000",
        "TEXT_ONLY": text_only,
    }
    with flask_run(tmp_path, APP) as shell:
        for name, code in {
            "react-native": _REACT_NATIVE,
            "expo-fetch": _EXPO,
            "older-expo": OLDER_EXPO if expo == "SDK 53" else "",
            "events": MODULE,
            "run": _RUN,
        }.items():
            for old, new in replaced.items():
                code = code.replace(old, new)
            (tmp_path / f"{name}.mjs").write_text(shell.translated(code))
        with shell.start("node run.mjs") as client:
            client.wait_for("connected false\n")
            post(shell, "note/hello")
            client.wait_for("note hello\n")
            post(shell, "cut")
            client.wait_for("note missed\n")
            assert client.printed.count("connected true\n") == 1
            post(shell, "note/come")
            client.wait_for("note come\nconnected true\n")
            post(shell, "note/leave")
            client.wait_for("left 0\n")
            client.wait_for_end()
        assert client.printed.count("note") == 4
        assert "reset" not in client.printed


def post(shell: Shell, path: str) -> None:
    shell.run(f"curl -f -X POST http://127.0.0.1:5000/{path}")


@pytest.mark.live
def test_the_client_is_written_into_the_app(tmp_path: Path) -> None:
    """The folder is installed by npm, without a registry."""
    if shutil.which("npm") is None:
        absent("npm", remedy="install Node.js")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/package.json").write_text("{}")
    # Nothing of the package is in a registry.
    (tmp_path / "app/.npmrc").write_text("offline=true\naudit=false\nfund=false\n")
    shell = Shell(tmp_path, ports={})
    for command in commands(INSTALL):
        shell.run(command)
    assert (tmp_path / "app/node_modules/sse-hub/package.json").exists()
