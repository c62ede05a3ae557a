"""Mistakes: words of other packages, for arguments and methods."""

from collections.abc import Callable
from typing import Any

import pytest

from flask_sse_hub import SSEHubError
from tests.unit.mistakes.conftest import Shop

# Wrong calls are the subject of these tests: type checkers would refuse most of them.
Call = Callable[[Any], object]

_PUBLISH = "publish(data, type=..., user=..., channel=...)"

WORDS: list[tuple[Call, str]] = [
    (
        lambda it: it.publish("hi", "greeting"),
        f"publish() has too many arguments without a name: write {_PUBLISH}",
    ),
    (
        lambda it: it.publish(),
        f"publish() is missing a required argument: 'data': write {_PUBLISH}",
    ),
    (
        lambda it: it.publish("hi", to="ada"),
        "publish() has no argument to=. Use user=, channel=, session= or client=.",
    ),
    (
        lambda it: it.publish("hi", room="news"),
        "publish() has no argument room=. Use channel=.",
    ),
    (
        lambda it: it.publish("hi", users=["ada"]),
        "publish() has no argument users=. Use user=.",
    ),
    (
        lambda it: it.publish("hi", event="greeting"),
        "publish() has no argument event=. Use type=.",
    ),
    (
        lambda it: it.publish("hi", id=7),
        (
            "publish() has no argument id=. The log gives each event its id, which"
            " publish() returns. To publish once only, use idempotency_key=."
        ),
    ),
    (
        lambda it: it.publish("hi", broadcast=True),
        (
            "publish() has no argument broadcast=. Leave out all targets: every"
            " connected client receives the event."
        ),
    ),
    (
        lambda it: it.publish("hi", skip_sid="abc"),
        "publish() has no argument skip_sid=. Use exclude_client=.",
    ),
    (
        lambda it: it.publish(message="hi"),
        "publish() has no argument message=. Pass the data first, without a keyword.",
    ),
    (
        lambda it: it.publish("hi", chanel="news"),
        "publish() has no argument chanel=. Did you mean channel=?",
    ),
    (
        lambda it: it.publish("hi", urgent=True),
        f"publish() has no argument urgent=. Write {_PUBLISH}",
    ),
    (
        lambda it: it.sse_hub.disconnect("ada"),
        (
            "disconnect() has too many arguments without a name: write"
            " disconnect(user=..., session=..., client=...)"
        ),
    ),
    (
        lambda it: it.sse_hub.disconnect(user_id=7),
        "disconnect() has no argument user_id=. Use user=.",
    ),
    (
        lambda it: it.sse_hub.stream(channels=["news"]),
        (
            "stream() has no argument channels=. Pass the channels' names without a"
            " keyword."
        ),
    ),
    (
        lambda it: it.sse_hub.script(channel="news"),
        (
            "script() has no argument channel=. Pass the channels' names without a"
            " keyword."
        ),
    ),
    (
        lambda it: it.sse_hub.ticket(channel="news"),
        "ticket() has no argument channel=. Use channels=.",
    ),
    (
        lambda it: it.sse_hub.ticket(ttl=60),
        "ticket() has no argument ttl=. Use expires=, in seconds.",
    ),
    (
        lambda it: it.sse_hub.authorize_channel(),
        (
            "authorize_channel() is missing a required argument: 'authorizer': write"
            " @sse_hub.authorize_channel above the function"
        ),
    ),
    (
        lambda it: it.package.SSEHub(message_queue="redis://"),
        (
            "SSEHub() has no argument message_queue=. Set SSE_HUB_BROKER_URL in"
            " app.config before."
        ),
    ),
    (
        lambda it: it.sse_hub.init_app(it.app, url_prefix="/stream"),
        (
            "init_app() has no argument url_prefix=. Set SSE_HUB_URL_PREFIX in"
            " app.config before."
        ),
    ),
    (
        lambda it: it.package.Publisher(broker_url="redis://"),
        "Publisher() has no argument broker_url=. Pass the URL as url=.",
    ),
    (
        lambda it: it.package.Event("hi", event="greeting"),
        "Event() has no argument event=. Use type=.",
    ),
    (
        lambda it: it.package.Batch(10),
        (
            "Batch() has too many arguments without a name: write"
            " Batch(size=10, interval=0.1)"
        ),
    ),
    (
        lambda it: it.answer([], headers={"X-Name": "value"}),
        (
            "EventSourceResponse() has no argument headers=. Set it on the response:"
            " response = EventSourceResponse(items);"
            ' response.headers["X-Name"] = "value"'
        ),
    ),
    (
        lambda it: it.answer([], ping=15),
        "EventSourceResponse() has no argument ping=. Use heartbeat=, in seconds.",
    ),
    (
        lambda it: it.answer([], status_code=202),
        (
            "EventSourceResponse() has no argument status_code=. Return it with the"
            " response: return EventSourceResponse(items), 202"
        ),
    ),
    (
        lambda it: it.answer([], media_type="text/event-stream"),
        (
            "EventSourceResponse() has no argument media_type=. Leave it out: the"
            " response is text/event-stream"
        ),
    ),
    (
        lambda it: it.published.one(event="greeting"),
        "events() has no argument event=. Use type=.",
    ),
]


@pytest.mark.parametrize(("call", "text"), WORDS, ids=[text for _, text in WORDS])
def test_a_wrong_word_is_a_type_error_with_the_right_word(
    shop: Shop, call: Call, text: str
) -> None:
    """Python's own error says only that the word is unexpected."""
    with pytest.raises(TypeError) as raised:
        call(shop)
    assert str(raised.value) == text
    assert not isinstance(raised.value, SSEHubError)


METHODS: list[tuple[Call, str]] = [
    (
        lambda it: it.app.register_blueprint(it.sse_hub, url_prefix="/stream"),
        (
            "SSEHub has no attribute 'register': it is no blueprint:"
            " sse_hub.init_app(app) registers one, at SSE_HUB_URL_PREFIX"
        ),
    ),
    (
        lambda it: it.sse_hub.emit("greeting", "hi", to="ada"),
        f"SSEHub has no attribute 'emit': use {_PUBLISH}",
    ),
    (
        lambda it: it.sse_hub.subscribe("news"),
        (
            "SSEHub has no attribute 'subscribe': the blueprint serves streams, or a"
            " view returns sse_hub.stream(*channels)"
        ),
    ),
    (lambda it: it.sse_hub.typo, "SSEHub has no attribute 'typo'"),
]


@pytest.mark.parametrize(("call", "text"), METHODS, ids=[text for _, text in METHODS])
def test_a_method_of_another_package_names_its_counterpart(
    shop: Shop, call: Call, text: str
) -> None:
    """It stays an AttributeError, by which hasattr() and templates can tell."""
    with pytest.raises(AttributeError) as raised:
        call(shop)
    assert str(raised.value) == text
