"""A stand-in for a language model: a small text generator.

This module knows no requests, no streams and no database. The rest of the app calls
only ``complete()``. Replace that function to use a real model.
"""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
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

_FEWEST_WORDS = 45
_MOST_WORDS = 90

# The text from which the stand-in takes its words.
_TEXT = """
A stream is one answer that stays open while the server writes events to it. An event
is a few lines of text with a blank line after them. The browser reads the lines as
they come and hands each event to the page. A stream of tokens is no different from a
stream of prices: each token is an event, and the page writes it where the last one
ended. A stream of one request belongs to one visitor, and ends when the answer is
complete. The stream of the hub belongs to a person, and stays open as long as a page
does. A client that loses its connection names the last id that it has, and the hub
goes on from there. A client that has left is noticed, and the call of the model is
closed, so that nobody pays for tokens that nobody reads. A proxy that collects an
answer before it passes it on turns a stream into a long silence, so the header says
that it should not. A worker that stops tells its streams so, and the page says what
has happened and offers to try again. An answer is kept when it is complete, in one
transaction with the question. An answer that was stopped is kept as far as it came,
because that is what the person has seen. The page shows the text as it comes, and a
screen reader hears it once, when it is complete. Events travel over plain HTTP,
through every proxy that knows HTTP, and need no protocol of their own. A heartbeat is
a comment that the page never sees, sent when there is nothing else to say. A slow
reader slows the writer down, so that memory stays bounded on both sides. An error in
the middle of a stream cannot change the status any more, so it is an event as well,
and its id is in the log beside the traceback. A button that says stop closes the
connection, and the server hears of it within a moment.
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
    seed = f"{len(messages) + 1} {question}"
    tokens = 0
    try:
        time.sleep(pace * _FIRST_TAKES)
        if SLOW_WORD in _words_of(question):
            pace *= _SLOW_TAKES
        for number, word in enumerate(_words(question, seed=seed)):
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


def _words(question: str, *, seed: str) -> Iterator[str]:
    """Yield words in an order that the text could have had.

    Each word is chosen by the two before it. The same seed gives the same words.
    """
    drawn = random.Random(seed)
    before = _beginning(question, drawn)
    yield from before
    for count in range(len(before), _MOST_WORDS):
        if before[1].endswith(".") and count >= _FEWEST_WORDS:
            return
        word = drawn.choice(_FOLLOWING[before])
        yield word
        before = (before[1], word)


def _beginning(question: str, drawn: random.Random) -> tuple[str, str]:
    """Return the beginning of a sentence, one that fits the question if possible."""
    asked = _words_of(question)
    every = [beginning for beginning, _ in _SENTENCES]
    fitting = [beginning for beginning, about in _SENTENCES if asked & about]
    return drawn.choice(fitting or every)


def _words_of(text: str) -> frozenset[str]:
    return frozenset(word.strip("?!.,:;\"'").lower() for word in text.split())


# Words that are too common to be the subject of a question.
_COMMON = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "for", "how", "in", "is", "it"}
    | {"of", "on", "the", "to", "what"}
)


def _sentences() -> list[tuple[tuple[str, str], frozenset[str]]]:
    """Return the beginning of each sentence, and the words that it is about."""
    found = []
    for sentence in " ".join(_TEXT.split()).split(". "):
        first, second, *_ = sentence.split()
        found.append(((first, second), _words_of(sentence) - _COMMON))
    return found


def _following() -> dict[tuple[str, str], list[str]]:
    words = _TEXT.split()
    # The end is followed by the beginning, so that there is always another word.
    words += words[:2]
    following = defaultdict(list)
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        following[first, second].append(third)
    return dict(following)


_SENTENCES = _sentences()
_FOLLOWING = _following()
