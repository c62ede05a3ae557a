"""Answers for clients of language models, with the real packages, on a real server."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from tests.compat.table import compat
from tests.documented.chat import PAGE, WORDS, run
from tests.documented.samples import sample
from tests.foreign_clients.ai_site import FAIL, FAIL_AT_ONCE, WAIT, WAIT_FOR_GO
from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE, wait_until
from tests.kit.sse_parser import parse
from tests.live.server import SERVERS, Server
from tests.wire.real_parts import absent

pytestmark = pytest.mark.live

TESTS = Path(__file__).parents[1]
TEXT = "".join(WORDS)

FAILED = r"the stream ended by an error \(end-[0-9a-f]{16}\)"
STOPPED = r"the server is restarting \(end-[0-9a-f]{16}\)"

PYTHON = sample(PAGE, "python", with_="import openai")
OPENAI = sample(PAGE, "js", with_='from "openai"')
COMPATIBLE = sample(PAGE, "js", with_="createOpenAICompatible")
AI_SDK = sample(PAGE, "js", with_="DefaultChatTransport")

# The class below useChat, without React.
CHAT = """
import { AbstractChat, DefaultChatTransport } from "ai";

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => { this.messages.push(message); };
  popMessage = () => { this.messages.pop(); };
  replaceMessage = (index, message) => { this.messages[index] = message; };
  snapshot = structuredClone;
}

class Chat extends AbstractChat {
  constructor(init) { super({ ...init, state: new State() }); }
}
"""

# Yields the message, and then throws the error that a page would show.
USE_CHAT = (
    CHAT
    + """
export async function* ask(url, text) {
  const transport = new DefaultChatTransport({ api: `${url}/api/chat` });
  const chat = new Chat({ transport });
  await chat.sendMessage({ text });
  if (chat.lastMessage.role === "assistant") yield chat.lastMessage;
  if (chat.status !== "ready") throw chat.error;
}
"""
)

# A page that is left in the middle, and loaded again: `resume: true` of useChat calls
# resumeStream(). Yields the message, if nothing more can be resumed.
RESUME = (
    CHAT
    + """
const until = async (isSo) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
};
const hasText = (chat) => chat.lastMessage?.parts.some(({ text }) => text === "Events");

export async function* ask(url, text) {
  const transport = new DefaultChatTransport({ api: `${url}/api/chat` });
  const left = new Chat({ id: "one", transport });
  left.sendMessage({ text });
  await until(() => hasText(left));
  await left.stop();
  const chat = new Chat({ id: "one", transport });
  const resumed = chat.resumeStream();
  await until(() => hasText(chat));
  await fetch(new URL("/go", url), { method: "POST" });
  await resumed;
  yield chat.lastMessage;
  const messages = chat.state.messages.length;
  await chat.resumeStream();
  if (chat.state.messages.length !== messages) throw new Error("resumed again");
  if (chat.status !== "ready") throw chat.error;
}
"""
)

# Asks one question after another, and prints each answer: all that the sample yields,
# and the error that it throws.
RUN = """
for (const [url, question] of JSON.parse(process.argv[1])) {
  const found = [];
  let error = null;
  try {
    for await (const each of ask(url, question)) found.push(structuredClone(each));
  } catch ({ constructor, message, code, type }) {
    error = { name: constructor.name, message, code, type };
  }
  console.log(JSON.stringify([found, error]));
}
"""

#: A question and the URL below which it is asked.
Question = tuple[str, str]


class Answer(NamedTuple):
    """The pieces of text that a client received, or the messages; and its error."""

    found: list[Any]
    error: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        if self.found and isinstance(self.found[-1], dict):
            parts = self.found[-1]["parts"]
            return "".join(part["text"] for part in parts if part["type"] == "text")
        return "".join(self.found)

    @property
    def message(self) -> str:
        """The text of the error."""
        assert self.error is not None
        return str(self.error["message"])


class Site(Server):
    """A server with the site of the language model."""

    def __init__(self, kind: str = "gunicorn-gevent", *, args: str = "") -> None:
        super().__init__(kind, site="tests.foreign_clients.ai_site", args=args)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


Client = Callable[[list[Question]], list[Answer]]


def python(questions: list[Question]) -> list[Answer]:
    """Ask with the documentation's program for Python."""
    ask = run(PYTHON)["ask"]
    answers = []
    for url, question in questions:
        found: list[Any] = []
        error = None
        try:
            found.extend(ask(url, question))
        except openai.APIError as raised:
            error = {
                "name": type(raised).__name__,
                "message": raised.message,
                "code": raised.code,
                "type": raised.type,
            }
        answers.append(Answer(found, error))
    return answers


def node(code: str) -> Client:
    """Return a client that runs a program for Node.js."""

    def ask(questions: list[Question]) -> list[Answer]:
        if shutil.which("node") is None:
            absent("node", remedy="install Node.js")
        for package in re.findall(r' from "(.+)"', code):
            if not (TESTS / "node_modules" / package).is_dir():
                absent(package, remedy="run `npm ci` in tests")
        done = subprocess.run(
            ["node", "--input-type=module", "-e", code + RUN, json.dumps(questions)],
            cwd=TESTS,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [Answer(*json.loads(line)) for line in done.stdout.splitlines()]

    return ask


#: Clients of OpenAI's API. They yield pieces of text.
OF_OPENAI: dict[str, Client] = {
    "openai for Python": python,
    "openai": node(OPENAI),
    "openai-compatible": node(COMPATIBLE),
}

#: Clients with the AI SDK. They yield the message so far.
OF_AI_SDK: dict[str, Client] = {
    "ai": node(AI_SDK),
    "ai 5": node(AI_SDK.replace('from "ai"', 'from "ai5"')),
    "useChat": node(USE_CHAT),
    "useChat 5": node(USE_CHAT.replace('from "ai"', 'from "ai5"')),
}

CLIENTS = OF_OPENAI | OF_AI_SDK
each_client = pytest.mark.parametrize("name", CLIENTS)
each_of_ai_sdk = pytest.mark.parametrize("name", OF_AI_SDK)

# All that the tests ask, by the path of the site. Node.js takes a second to start, so
# each client is started once.
ASKED = [
    ("", "hello"),
    ("", FAIL),
    ("", FAIL_AT_ONCE),
    ("/beating", "hello"),
    ("/proxy", "hello"),
]
ASKED_OF_AI_SDK = [("/weather", "hello"), ("/parts", "hello")]

#: Returns a client's answer to one of these questions.
AnswerOf = Callable[..., Answer]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def answer_of(site: Site) -> AnswerOf:
    @cache
    def answers(name: str) -> dict[Question, Answer]:
        asked = ASKED + (ASKED_OF_AI_SDK if name in OF_AI_SDK else [])
        questions = [(f"{site.url}{path}", question) for path, question in asked]
        return dict(zip(asked, CLIENTS[name](questions), strict=True))

    def answer(name: str, question: str = "hello", *, path: str = "") -> Answer:
        return answers(name)[path, question]

    return answer


@compat("openai", "gunicorn gevent", 'answers with protocol="openai"')
@compat("@ai-sdk/openai-compatible", "gunicorn gevent", 'protocol="openai"')
@compat("ai", "gunicorn gevent", 'answers with protocol="ai-sdk"')
@each_client
def test_a_client_receives_the_whole_text(name: str, answer_of: AnswerOf) -> None:
    """It raises nothing."""
    answer = answer_of(name)
    assert (answer.text, answer.error) == (TEXT, None)


@each_client
def test_a_client_ignores_heartbeats(name: str, answer_of: AnswerOf) -> None:
    """Comments between the items are no part of any protocol."""
    answer = answer_of(name, path="/beating")
    assert (answer.text, answer.error) == (TEXT, None)


@each_client
def test_an_end_that_the_iterable_yields_is_no_second_end(
    name: str, answer_of: AnswerOf
) -> None:
    """As from an iterable that passes on another server's answer."""
    answer = answer_of(name, path="/proxy")
    assert (answer.text, answer.error) == (TEXT, None)


@each_client
def test_a_client_raises_its_own_error(
    name: str, answer_of: AnswerOf, site: Site
) -> None:
    """The error has the id that is in the log, and the text so far was received."""
    answer = answer_of(name, FAIL)
    assert answer.text == WORDS[0]
    assert re.fullmatch(FAILED, answer.message)
    end_id = answer.message.rpartition("(")[2].rstrip(")")
    assert f"its client was told with the id {end_id}" in site.log


@each_client
def test_a_client_raises_its_own_error_instead_of_an_answer(
    name: str, answer_of: AnswerOf
) -> None:
    """The model failed before its first word."""
    answer = answer_of(name, FAIL_AT_ONCE)
    assert answer.text == ""
    assert re.fullmatch(FAILED, answer.message)


@pytest.mark.parametrize("name", ["openai for Python", "openai"])
def test_the_errors_are_those_of_openai(name: str, answer_of: AnswerOf) -> None:
    """They have the properties that programs look at."""
    error = answer_of(name, FAIL).error
    assert error is not None
    del error["message"]
    assert error == {"name": "APIError", "code": None, "type": "server_error"}


@each_of_ai_sdk
def test_other_parts_stand_between_texts(name: str, answer_of: AnswerOf) -> None:
    """The page shows them in the order in which they were yielded."""
    answer = answer_of(name, path="/weather")
    text, weather, rest = answer.found[-1]["parts"]
    assert [text["text"], rest["text"]] == ["Let me look. ", "It is cold."]
    assert [text["state"], rest["state"]] == ["done", "done"]
    assert weather["data"] == {"city": "Bern", "celsius": 7}


@each_of_ai_sdk
def test_a_message_may_have_its_own_id(name: str, answer_of: AnswerOf) -> None:
    """The iterable begins with the part that names it."""
    answer = answer_of(name, path="/parts")
    assert answer.found[-1]["id"] == "m1"
    assert answer.text == TEXT


@compat(
    "ai", "gunicorn gevent", "resumeStream(), as useChat with resume: true calls it"
)
@pytest.mark.parametrize("package", ["ai", "ai5"])
def test_a_chat_of_the_ai_sdk_resumes_after_a_reload(site: Site, package: str) -> None:
    """It receives the whole message, and asks the model once."""
    before = site.json("/counts")
    resume = RESUME.replace('from "ai"', f'from "{package}"')
    resume = resume.replace('id: "one"', f'id: "{package}"')
    (answer,) = node(resume)([(f"{site.url}/lasting", WAIT_FOR_GO)])
    assert (answer.text, answer.error) == (TEXT, None)
    assert site.json("/counts") == {name: before[name] + 1 for name in before}


def test_a_client_that_leaves_ends_the_models_call(site: Site) -> None:
    """The call would otherwise go on for nobody."""
    before = site.json("/counts")
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key="unused")
    with client.chat.completions.create(
        model="mine", messages=[{"role": "user", "content": WAIT}], stream=True
    ) as chunks:
        while not next(chunks).choices[0].delta.content:
            pass
        assert site.json("/counts")["ended"] == before["ended"]
    wait_until(lambda: site.json("/counts")["ended"] == before["ended"] + 1)


def test_a_worker_that_stops_is_an_error() -> None:
    """A client of each kind knows that the answer is not complete."""
    names = ["openai for Python", "openai", "ai"]
    with Site(args="--graceful-timeout 3") as site, ThreadPoolExecutor() as pool:
        asking = {
            name: pool.submit(CLIENTS[name], [(site.url, WAIT)]) for name in names
        }
        wait_until(lambda: site.json("/counts")["begun"] == 3, within=30.0)
        site.signal(signal.SIGTERM)
        for name in names:
            (answer,) = asking[name].result(DEADLINE)
            assert answer.text == WORDS[0]
            assert re.fullmatch(STOPPED, answer.message)
            if name in OF_OPENAI:
                assert answer.error is not None
                assert answer.error["code"] == "shutdown"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_broken_answer_without_a_protocol_fails_the_read(kind: str) -> None:
    """A complete one does not."""
    with Site(kind) as site, httpx.Client(base_url=site.url) as client:
        whole = client.post("/bare/hello").content
        assert [event.data for event in parse(whole)] == WORDS
        with (
            pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
            client.stream("POST", f"/bare/{FAIL}") as response,
        ):
            for _ in response.iter_bytes():
                pass
