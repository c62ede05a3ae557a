"""Mistakes: values that are refused, and rules that cannot be asked."""

import math
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from flask_sse_hub import InvalidArgument, SSEHub
from flask_sse_hub.testing import Stream, fresh_hub
from tests.conftest import MakeSite
from tests.unit.mistakes.conftest import Shop

# Wrong calls are the subject of these tests: type checkers would refuse most of them.
Call = Callable[[Any], object]


def answer(question: str, words: int = 3) -> Iterator[str]:
    yield from [question] * words


async def answer_later(question: str) -> AsyncIterator[str]:
    yield question


async def may_listen_later(user: Any, channel: str) -> bool:
    return False


def may_listen(user: Any, channel: str) -> bool:
    return True


def is_member(user: Any, channel: str) -> bool:
    return True


_NO_ASYNC = (
    ". Write `def` and `for` in place of `async def` and `async for`, and use the"
    " blocking client of your library: each stream runs in a greenlet or thread of its"
    " own"
)
_PATTERN = (
    "'orders.*' is a pattern, not a channel's name: name each channel. Streams listen"
    " to patterns such as 'orders.*', and settings have them"
)
_NO_PATTERN = (
    "'orders*' is no pattern of channels: only the last part of a name can be a *,"
    " after a dot, as in 'orders.*'. It stands for any number of parts"
)


VALUES: list[tuple[Call, str]] = [
    (
        lambda it: it.publish("hi", user=None),
        (
            "`user=None` is not a target (anonymous user?). Leave out `user=` to"
            " broadcast."
        ),
    ),
    (
        lambda it: it.publish("hi", channel=None),
        (
            "`channel=None` is not a target (a name that was not found?). Pass a"
            " channel's name, or leave out `channel=` to broadcast."
        ),
    ),
    (
        lambda it: it.publish("hi", client=None),
        (
            "`client=None` is not a target. Pass a client's id, or leave out `client=`"
            " to broadcast."
        ),
    ),
    (
        lambda it: it.sse_hub.disconnect(user=None),
        "`user=None` is not a target (anonymous user?). Pass a user's id.",
    ),
    (
        lambda it: it.publish("hi", user=["ada", None]),
        (
            "a user's id must be a str or an int or a UUID, not NoneType. None is the"
            " id of an anonymous user"
        ),
    ),
    (
        lambda it: it.publish("hi", user=1.5),
        "user= takes a name or a list of names, not float: pass its id",
    ),
    (lambda it: it.publish("hi", channel="orders.*"), _PATTERN),
    (lambda it: it.sse_hub.stream("orders*"), _NO_PATTERN),
    (lambda it: it.sse_hub.ticket(channels="orders*"), _NO_PATTERN),
    (lambda it: it.sse_hub.script("orders*"), _NO_PATTERN),
    (
        lambda it: it.publish("hi", channel=7),
        "a channel's name must be a str, not int: write it as text, such as 'orders.7'",
    ),
    (
        lambda it: it.sse_hub.stream(["a", "b"]),
        (
            "stream() takes each channel's name as an argument of its own, not a list:"
            " use stream(*names)"
        ),
    ),
    (
        lambda it: it.sse_hub.script(("a", "b")),
        (
            "script() takes each channel's name as an argument of its own, not a tuple:"
            " use script(*names)"
        ),
    ),
    (
        lambda it: it.publish("hi", retry=5000),
        (
            "retry must be between 0 and 3600 seconds. A number of milliseconds must be"
            " divided by 1000 (seconds, not milliseconds?)"
        ),
    ),
    (
        lambda it: it.sse_hub.ticket(expires=timedelta(minutes=1)),
        "expires must be a number of seconds, not timedelta: use its total_seconds()",
    ),
    (
        lambda it: it.publish({"ratio": math.nan}),
        (
            "the data cannot be read by a browser: NaN is no number of JSON. Send"
            " None instead, which becomes null"
        ),
    ),
    (
        lambda it: it.publish([-math.inf]),
        (
            "the data cannot be read by a browser: -Infinity is no number of JSON. Send"
            " None instead, which becomes null"
        ),
    ),
    (
        lambda it: it.publish(may_listen_later(None, "news")),
        (
            "data of type coroutine cannot be serialised as JSON: Object of type"
            " coroutine is not JSON serializable. Async is not supported: pass its"
            " result"
        ),
    ),
    (
        lambda it: it.publish(may_listen),
        (
            "data of type function cannot be serialised as JSON: Object of type"
            " function is not JSON serializable. Call the function: may_listen()"
        ),
    ),
    (
        lambda it: it.publish(it.app),
        (
            "data of type Flask cannot be serialised as JSON: Object of type Flask is"
            " not JSON serializable. Pass plain values, or a Publisher with dumps="
        ),
    ),
    (
        lambda it: it.package.Event({"a": 1}),
        "an event's data must be a str, as json.dumps(data) is, not dict",
    ),
    (
        lambda it: it.package.SSEHub("app"),
        (
            "SSEHub takes a Flask app, not 'app': write SSEHub(app), or SSEHub() and"
            " later sse_hub.init_app(app)"
        ),
    ),
    (
        lambda it: it.package.Publisher(it.app),
        (
            "url must be a str, the app's SSE_HUB_BROKER_URL, not Flask. Within the"
            " app, use its SSEHub"
        ),
    ),
    (
        lambda it: it.answer(answer),
        (
            "EventSourceResponse takes an iterable, not a function; call it:"
            " `answer(question)`"
        ),
    ),
    (
        lambda it: it.answer(answer_later("why?")),
        (
            "async is not supported: EventSourceResponse takes a plain generator, not"
            " an"
            f" async_generator{_NO_ASYNC}"
        ),
    ),
    (
        lambda it: it.answer(answer_later),
        (
            "async is not supported: EventSourceResponse takes a plain generator, not"
            " the"
            f" async function answer_later{_NO_ASYNC}"
        ),
    ),
    (
        lambda it: it.answer(may_listen_later(None, "news")),
        (
            "async is not supported: EventSourceResponse takes a plain generator, not a"
            f" coroutine{_NO_ASYNC}"
        ),
    ),
    (
        lambda it: it.answer(None),
        (
            "EventSourceResponse takes an iterable that yields events, such as a"
            " generator or a list, not NoneType. Does the function lack a `yield`?"
        ),
    ),
    (
        lambda it: it.answer("hi"),
        (
            "EventSourceResponse takes an iterable that yields events, such as a"
            " generator or a list, not str"
        ),
    ),
    (
        lambda it: it.answer([], batch=10),
        "batch must be a Batch, such as Batch(size=10), not int",
    ),
    (
        lambda it: Stream("/events"),
        (
            "'/events' is a path and needs a test client: pass"
            " client=app.test_client(), or the full URL of a live server"
        ),
    ),
    (
        lambda it: fresh_hub("app").__enter__(),  # type: ignore[arg-type]
        (
            "app must be a Flask app, not str: pass the object that sse_hub.init_app()"
            " received"
        ),
    ),
    (
        lambda it: it.sse_hub.authorize_channel("news"),
        "authorize_channel takes a function f(user, channel), not 'news'",
    ),
    (
        lambda it: it.sse_hub.authorize_channel(may_listen_later),
        (
            "authorize_channel takes a plain function f(user, channel), not the async"
            f" function {__name__}.may_listen_later: write `def`"
        ),
    ),
    (
        lambda it: it.sse_hub.stream("news", still_allowed=may_listen_later),
        (
            "still_allowed takes a plain function f(user, channel), not the async"
            f" function {__name__}.may_listen_later: write `def`"
        ),
    ),
    (
        lambda it: it.sse_hub.reload_user(may_listen),
        (
            "reload_user calls its function as f(user_id), and"
            f" {__name__}.may_listen cannot be called so: missing a"
            " required argument: 'channel'"
        ),
    ),
]


@pytest.mark.parametrize(("call", "text"), VALUES, ids=[text for _, text in VALUES])
def test_a_bad_argument_is_refused_with_the_remedy(
    shop: Shop, call: Call, text: str
) -> None:
    """It is caught as an error of the package, as a TypeError and as a ValueError."""
    with pytest.raises(InvalidArgument) as raised:
        call(shop)
    assert str(raised.value) == text
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, ValueError)


class TestRules:
    def test_a_second_rule_is_refused(self) -> None:
        """It would replace the first one silently, and open or close its channels."""
        sse_hub = SSEHub()
        sse_hub.authorize_channel(may_listen)
        with pytest.raises(InvalidArgument) as raised:
            sse_hub.authorize_channel(is_member)
        assert str(raised.value) == (
            "authorize_channel has a function already,"
            f" {__name__}.may_listen: a second one would replace it. Make"
            " one function of both"
        )

    def test_an_app_factory_registers_its_rule_for_each_app(self) -> None:
        """A factory defines the same function again, at the same place of the code."""
        sse_hub = SSEHub()

        def create_app(team: str) -> None:
            @sse_hub.authorize_channel
            def may_listen(user: Any, channel: str) -> bool:
                return channel == team

        create_app("red")
        create_app("blue")

    def test_each_hub_has_a_rule_of_its_own(self) -> None:
        """The rules of one app say nothing about those of another one."""
        SSEHub().authorize_channel(may_listen)
        SSEHub().authorize_channel(is_member)

    def test_arguments_in_the_other_order_are_refused(self) -> None:
        """The rule would compare users with names of channels."""

        def may_listen(channel: str, user: Any) -> bool:
            return False

        with pytest.raises(InvalidArgument, match="has the arguments in the other"):
            SSEHub().authorize_channel(may_listen)

    def test_a_coroutine_opens_no_channel(self, make_site: MakeSite) -> None:
        """It counts as true in Python. The lambda hides that its function is async."""
        site = make_site()
        site.app.testing = False
        site.hub.authorize_channel(
            lambda user, channel: may_listen_later(user, channel)  # type: ignore[arg-type, return-value]
        )
        assert site.browser("ada").get("/events?channel=x").status_code == 500
