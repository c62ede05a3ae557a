"""A stand-in for a language model: it looks up a paragraph about the question.

This module knows no requests, no streams and no database. The rest of the app calls
only ``complete()``. Replace that function to use a real model.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator
from typing import TypedDict

from flask import current_app

log = logging.getLogger(__name__)

#: The name that the page shows.
NAME = "stand-in"

#: A message that contains this word makes the stand-in fail, to show an error.
FAILING_WORD = "fail"

#: A message that contains this word is answered slowly, so that there is time to reload
#: the page or to press stop.
SLOW_WORD = "slowly"

# Slow answers take longer for each token but the first: by this factor.
_SLOW_TAKES = 25

# A model takes longer for the first token than for the others: by this factor.
_FIRST_TAKES = 8

_FAILS_AFTER = 12

# The text has one answer in each paragraph. The first one is for questions
# about anything else. Numbers and names are those of the documentation.
_TEXT = """
I am a stand-in for a language model, and I know only a few paragraphs about this
product. Ask me about streams, events, publishing, reconnecting, heartbeats, logins,
channels, presence, brokers, workers, proxies, answers or tests. Each word that you see
here is an item of a generator, which reached your page as an event of its own, so this
answer shows how the answer of a real model would arrive.

A heartbeat keeps a stream alive and finds dead connections. The stream of the hub
sends an event named ping every thirty seconds, which the browser client does not pass
on to the page. An answer like this one sends a comment after fifteen seconds of
silence, because some clients take unknown events for data. SSE_HUB_HEARTBEAT_INTERVAL
changes the first, and heartbeat= of the response the second.

A client that reconnects names the id of its last event, and the hub sends the events
that came after it, in order and each one once. This is called to resume. If history
does not reach back that far, the client receives one reset event, and the page loads
its state again. History keeps an hour, ten thousand events or 64 MiB, whichever ends
first.

To publish an event, call sse_hub.publish() in a route, a job, a webhook or a shell. It
takes the data, a type, and targets: a channel, a user, a session or a client. Without a
target every connected client receives the event, and None is refused, so an anonymous
user never becomes a broadcast. From outside the app use a Publisher, the command flask
sse publish, or a token over HTTP.

An event is data, a type and an id. On the wire it is a few lines of text with a blank
line after them, sent over plain HTTP, so every browser reads it with EventSource and
no other protocol is needed. JSON data arrives as an object in the browser client. One
event may have a megabyte; publish a URL for more.

A login decides who listens. A stream needs one unless you say otherwise, and a logout
ends the streams of that session on every worker at once. Users are loaded again while
their streams are open, so a deleted or locked user loses the stream within a minute or
so. Tickets let clients in that can send no cookies.

A channel is a name such as orders.7, and it is closed until SSE_HUB_PUBLIC_CHANNELS or
the rule of authorize_channel opens it. A stream may also listen to a pattern such as
orders.*, if the user may listen to every channel below it. Publish personal events to
a user and not to a channel, because the login guards them.

Presence tells who is there. SSE_HUB_PRESENCE names the channels that have it,
sse_hub.present() lists the people on all workers, and each person counts once, however
many tabs are open. Pages receive an event when somebody comes or leaves. A short cut
or a reload is no leave.

A broker keeps the log of events. The default is an SQLite file in the instance folder,
which all workers and scripts of a machine share, with nothing to install. Use Redis
for several machines, and memory for tests. You change it by SSE_HUB_BROKER_URL, and
nothing else in the app has to change.

Any number of workers serves the same streams, because each worker follows the log and
writes to its own clients. Run gunicorn with its gevent worker: then an open stream
takes no greenlet and no place of ordinary requests, and memory of about one and a half
KiB. A worker that stops sends its clients on, and they resume on another one.

A proxy must not collect the stream. The hub sends X-Accel-Buffering: no, which nginx
obeys, and the idle limit of the proxy must be above two heartbeats. HTTP/2 between
browser and proxy lifts the limit of six connections. The command flask sse doctor finds
the hop that holds events back, and names the cure.

An answer like this one is an EventSourceResponse, or sse_hub.answers if it should
outlive its reader. The iterable runs beside the request, each item becomes an event,
and the last event tells how it ended. Stop interrupts the model where it runs, a reload
reads on, and a second tab shows the same text.

A test uses the kit in flask_sse_hub.testing: Stream opens a stream of a test client
with a deadline for each wait, Published lists the events that the app has published,
and a Clock that you move by hand makes heartbeats and ages instant. No test has to
sleep.
"""


class Message(TypedDict):
    """One message of a conversation; its role is "user" or "assistant"."""

    role: str
    content: str


class ModelFailed(Exception):
    """Raised when the model cannot go on."""


def complete(messages: list[Message]) -> Generator[str, None, None]:
    """Yield the answer to a conversation in tokens, each as soon as it is made.

    If the last message is the assistant's, the answer goes on where that one ends.

    Closing the generator ends the call. The call needs an app context. With the client
    of an OpenAI-compatible server, the body is::

        call = dict(model="...", messages=messages, max_tokens=1000, stream=True)
        with client.chat.completions.create(**call) as chunks:
            for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
    """
    # Below, time.sleep is called through its module, because gevent patches it there. A
    # call over the network waits in the same way.
    pace = float(current_app.config["CHAT_PACE"])
    *messages, last = messages
    said = 0
    if last["role"] == "assistant":
        said = len(last["content"].split())
        *messages, last = messages
    question = last["content"]
    tokens = 0
    try:
        time.sleep(pace * _FIRST_TAKES)
        if SLOW_WORD in _words_of(question):
            pace *= _SLOW_TAKES
        for number, word in enumerate(_answer_to(question).split()):
            if number < said:
                continue
            if number == _FAILS_AFTER and FAILING_WORD in _words_of(question):
                raise ModelFailed("the stand-in was asked to fail")
            yield word if number == 0 else f" {word}"
            tokens += 1
            time.sleep(pace)
    finally:
        # A real call would give its connection back here.
        log.info("a call of the model ended after %d tokens", tokens)


def _answer_to(question: str) -> str:
    """Return the paragraph that shares the rarest words with a question."""
    asked = _words_of(question) - _COMMON
    best = max(_PARAGRAPHS[1:], key=lambda each: _fit(asked, each))
    return best if _fit(asked, best) else _PARAGRAPHS[0]


def _fit(asked: frozenset[str], paragraph: str) -> float:
    """Return how well a paragraph fits: a word that is in few of them counts more."""
    words = [_stem(word) for word in _words_of(paragraph)]
    shared = {_stem(word) for word in asked}.intersection(words)
    first = {_stem(word) for word in _words_of(paragraph.partition(".")[0])}
    return sum((2.0 if word in first else 1.0) / _IN[word] for word in shared)


def _stem(word: str) -> str:
    """Return a word without its ending: "streams" and "reconnecting" find theirs."""
    for ending in ("ing", "ers", "s", "er", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word.removesuffix(ending)
    return word


def _words_of(text: str) -> frozenset[str]:
    return frozenset(word.strip("?!.,:;\"'").lower() for word in text.split())


# Words that are too common to be the subject of a question.
_COMMON = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "how"}
    | {"i", "if", "in", "is", "it", "me", "my", "of", "on", "that", "the", "this", "to"}
    | {"what", "when", "which", "who", "why", "with", "work", "you", "your"}
)


_PARAGRAPHS = [" ".join(each.split()) for each in _TEXT.strip().split("\n\n")]

# The number of paragraphs that have a word.
_IN = Counter(
    stem
    for each in _PARAGRAPHS[1:]
    for stem in {_stem(word) for word in _words_of(each)}
)
