"""A catalogue of mistakes: each wrong call beside the answer that its author reads.

The calls are those of people who know Flask-SSE, Flask-SocketIO, sse-starlette or a
browser's EventSource. Each text is whole, so that it can be read as its reader does.
"""

import inspect
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

import flask_sse_hub
from flask_sse_hub import (
    Event,
    EventSourceResponse,
    InvalidArgument,
    Publisher,
    SSEHub,
    SSEHubError,
    Target,
)
from flask_sse_hub.testing import Published, Stream, fresh_hub
from tests.conftest import MakeSite, Site

# Wrong calls are the subject of these tests: type checkers would refuse most of them.
Call = Callable[[Any], object]


class _Shop:
    """The objects that the calls below use, as an app has them."""

    def __init__(self, site: Site) -> None:
        self.app = site.app
        self.sse_hub: Any = site.hub
        self.publish: Any = site.hub.publish
        self.answer: Any = EventSourceResponse
        self.published: Any = Published(site.app)
        self.package: Any = flask_sse_hub


@pytest.fixture
def shop(make_site: MakeSite) -> Iterator[_Shop]:
    site = make_site(login=False, login_required=False, public_channels=["*"])
    with site.app.test_request_context():
        yield _Shop(site)


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


_PUBLISH = "publish(data, type=..., user=..., channel=...)"
_NO_ASYNC = (
    ". Write `def` and `for` in place of `async def` and `async for`, and use the"
    " blocking client of your library: each stream runs in a greenlet or thread of its"
    " own"
)
_PATTERN = (
    "'orders.*' is a pattern, not a channel's name: name each channel. Patterns belong"
    " in SSE_HUB_PUBLIC_CHANNELS and SSE_HUB_PUBLISH_TOKENS"
)

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
    shop: _Shop, call: Call, text: str
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
    shop: _Shop, call: Call, text: str
) -> None:
    """It stays an AttributeError, by which hasattr() and templates can tell."""
    with pytest.raises(AttributeError) as raised:
        call(shop)
    assert str(raised.value) == text


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
    (lambda it: it.sse_hub.stream("orders.*"), _PATTERN),
    (lambda it: it.sse_hub.ticket(channels="orders.*"), _PATTERN),
    (lambda it: it.sse_hub.script("orders.*"), _PATTERN),
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
            " function tests.unit.test_mistakes.may_listen_later: write `def`"
        ),
    ),
    (
        lambda it: it.sse_hub.stream("news", still_allowed=may_listen_later),
        (
            "still_allowed takes a plain function f(user, channel), not the async"
            " function tests.unit.test_mistakes.may_listen_later: write `def`"
        ),
    ),
    (
        lambda it: it.sse_hub.reload_user(may_listen),
        (
            "reload_user calls its function as f(user_id), and"
            " tests.unit.test_mistakes.may_listen cannot be called so: missing a"
            " required argument: 'channel'"
        ),
    ),
]


@pytest.mark.parametrize(("call", "text"), VALUES, ids=[text for _, text in VALUES])
def test_a_bad_argument_is_refused_with_the_remedy(
    shop: _Shop, call: Call, text: str
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
            " tests.unit.test_mistakes.may_listen: a second one would replace it. Make"
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


QUERIES = [
    (
        "channels=news",
        "the query name 'channels' is unknown: use channel=, once for each channel",
    ),
    ("chanel=news", "the query name 'chanel' is unknown: did you mean channel=?"),
    (
        "clientId=7",
        (
            "the query name 'clientId' is unknown: use client_id=, with an id from"
            " sse_hub.client_id()"
        ),
    ),
    (
        "token=abc",
        (
            "the query name 'token' is unknown: use ticket=, with a ticket from"
            " sse_hub.ticket()"
        ),
    ),
    (
        "user_id=7",
        (
            "the query name 'user_id' is unknown: leave it out, because the login or"
            " the ticket tells the user"
        ),
    ),
    ("_=1700000000", "the query name '_' is unknown: it has no effect"),
    (
        "channel=*",
        "a * in channel= is a part of the channel's name: name each channel",
    ),
    (
        "channel=a,b",
        (
            "a comma in channel= is a part of the channel's name: for several channels,"
            " write channel=a&channel=b"
        ),
    ),
]


class TestQueries:
    @pytest.fixture
    def site(self, make_site: MakeSite) -> Site:
        return make_site(login=False, login_required=False, public_channels=["*"])

    @pytest.mark.parametrize(("query", "text"), QUERIES)
    def test_a_developer_reads_in_connected_what_is_unknown(
        self, site: Site, query: str, text: str
    ) -> None:
        """In debug mode the first event has a text for each mistake."""
        site.app.debug = True
        connected = site.browser().stream(f"/events?{query}").next("connected")
        assert json.loads(connected.data)["warnings"] == [text]

    def test_visitors_receive_no_warnings(self, site: Site) -> None:
        """Out of debug mode the first event has its usual fields alone."""
        connected = site.browser().stream("/events?channels=news").next("connected")
        assert "warnings" not in json.loads(connected.data)

    def test_a_right_query_has_no_warnings(self, site: Site) -> None:
        """Every name that the hub reads is known, and so are those of polyfills."""
        site.app.debug = True
        url = "/events?channel=a&last_event_id=&lastEventId=&client_id="
        connected = site.browser().stream(url).next("connected")
        assert "warnings" not in json.loads(connected.data)

    def test_each_name_is_in_the_log_once(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page that reconnects writes no second line."""
        for _ in range(2):
            site.browser().stream("/events?channels=news")
        assert caplog.messages == [
            (
                "in a request for a stream, the query name 'channels' is unknown: use"
                " channel=, once for each channel"
            )
        ]

    def test_strangers_cannot_fill_the_log(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each name takes memory and a line: there are twenty in all."""
        for number in range(30):
            site.browser().stream(f"/events?made_up_{number}=1")
        assert len(caplog.messages) == 20

    def test_a_pattern_is_no_channel(self, site: Site) -> None:
        """The answer says where patterns belong, and that channels are named."""
        response = site.browser().get("/events?channel=orders.*")
        assert response.status_code == 400
        assert "name each channel. Patterns belong in SSE_HUB_PUBLIC" in response.text


SETTINGS: list[tuple[str, object, str]] = [
    (
        "SSEHUB_MAX_AGE",
        600,
        (
            "the setting SSEHUB_MAX_AGE has no effect, because settings of the hub"
            " begin with SSE_HUB_; did you mean SSE_HUB_MAX_AGE?"
        ),
    ),
    (
        "SSE_MAX_AGE",
        600,
        (
            "the setting SSE_MAX_AGE has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_MAX_AGE?"
        ),
    ),
    (
        "FLASK_SSE_HUB_NAME",
        "shop",
        (
            "the setting FLASK_SSE_HUB_NAME has no effect, because settings of the hub"
            " begin with SSE_HUB_; did you mean SSE_HUB_NAME?"
        ),
    ),
    (
        "sse_hub_name",
        "shop",
        (
            "the setting sse_hub_name has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_NAME?"
        ),
    ),
    (
        "SSE_REDIS_URL",
        "redis://:secret@localhost",
        (
            "the setting SSE_REDIS_URL has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_BROKER_URL?"
        ),
    ),
    (
        "SSE_HUB_RETYR",
        (1.0, 2.0),
        "the setting SSE_HUB_RETYR is unknown; did you mean SSE_HUB_RETRY?",
    ),
    (
        "SSE_HUB_HEARTBEAT_INTERVAL",
        15000,
        (
            "the setting SSE_HUB_HEARTBEAT_INTERVAL is 15000.0 seconds (seconds, not"
            " milliseconds?)"
        ),
    ),
    (
        "SSE_HUB_RETRY",
        (2000, 3000),
        (
            "the setting SSE_HUB_RETRY is (2000.0, 3000.0) seconds (seconds, not"
            " milliseconds?)"
        ),
    ),
]


class TestSettings:
    @pytest.mark.parametrize(("key", "value", "text"), SETTINGS)
    def test_a_setting_without_effect_is_a_warning(
        self, caplog: pytest.LogCaptureFixture, key: str, value: object, text: str
    ) -> None:
        """Names alone are logged: the value of an unknown one may be a password."""
        app = Flask("shop")
        app.config[key] = value
        SSEHub(app)
        assert caplog.messages == [text]

    @pytest.mark.parametrize("key", ["SSE_STARLETTE", "SSE_KEY", "SECRET_KEY", "SSE"])
    def test_settings_of_other_packages_are_theirs(
        self, caplog: pytest.LogCaptureFixture, key: str
    ) -> None:
        """Nothing is said of settings that are not meant for the hub."""
        app = Flask("shop")
        app.config[key] = "x"
        SSEHub(app)
        assert caplog.messages == []

    def test_milliseconds_are_refused_where_seconds_are_bounded(self) -> None:
        """A reconnect delay is at most an hour."""
        app = Flask("shop")
        app.config["SSE_HUB_RETRY"] = (5000, 9000)
        with pytest.raises(SSEHubError) as raised:
            SSEHub(app)
        assert str(raised.value) == (
            "SSE_HUB_RETRY ((5000, 9000)) is invalid: it must be between 0 and 3600"
            " seconds. A number of milliseconds must be divided by 1000 (seconds, not"
            " milliseconds?)"
        )

    def test_a_broker_without_a_scheme_is_refused(self) -> None:
        """The error shows the forms of URLs."""
        app = Flask("shop")
        app.config["SSE_HUB_BROKER_URL"] = "redis"
        with pytest.raises(SSEHubError, match="no broker has this URL; use memory://"):
            SSEHub(app)

    def test_a_setting_that_comes_too_late_is_told_at_the_first_request(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is a warning once: settings are read in ``init_app``."""
        site = make_site()
        site.app.config["SSE_HUB_PUBLIC_CHANNELS"] = ["news"]
        for _ in range(2):
            site.browser().get("/page")
        assert caplog.messages == [
            (
                "the setting SSE_HUB_PUBLIC_CHANNELS was changed after init_app and has"
                " no effect: set it before"
            )
        ]

    def test_a_script_is_told_when_it_publishes(
        self, make_site: MakeSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A shell or a job has no requests."""
        site = make_site()
        site.app.config["SSE_HUB_RETRY"] = (1.0, 2.0)
        site.hub.publish("hi")
        assert caplog.messages[0].startswith("the setting SSE_HUB_RETRY was changed")


ITEMS: list[tuple[object, str]] = [
    (
        ("token", "hi"),
        (
            "a tuple is sent as a JSON array: yield Event(data, type=...) to set a"
            " type, or a list if you mean the array"
        ),
    ),
    (
        {"event": "token", "data": "hi"},
        (
            "a dict with the keys event, data is sent as JSON, as a whole: yield"
            " Event(data, type=...) to set a type, or Event(json.dumps(...)) if you"
            " mean the JSON"
        ),
    ),
    (
        "event: token\ndata: hi\n\n",
        (
            "a text with `data:` and a blank line is sent as the data of an event, with"
            " another `data:` before it: yield the data alone, or Event(data, type=...)"
        ),
    ),
    (
        b"data: hi\r\n\r\n",
        (
            "a text with `data:` and a blank line is sent as the data of an event, with"
            " another `data:` before it: yield the data alone, or Event(data, type=...)"
        ),
    ),
    (
        None,
        "None is sent as `null`: yield nothing instead, or Event('null')",
    ),
    (
        Event("hi", type="done"),
        "the type `done` tells clients that the answer has ended: choose another",
    ),
]


class TestItems:
    @staticmethod
    def _sent(app: Flask, *items: object) -> bytes:
        with app.test_request_context():
            response = EventSourceResponse(items)
            try:
                return b"".join(response.response)  # type: ignore[arg-type]
            finally:
                response.close()

    @pytest.mark.parametrize(("item", "text"), ITEMS)
    def test_a_habit_of_another_package_is_logged_once_for_each_answer(
        self, item: object, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The item is sent all the same: it may be meant as it is."""
        sent = self._sent(Flask("shop"), item, item)
        assert caplog.messages == [
            f"the answer of endpoint None is probably not as meant: {text}"
        ]
        assert b"event: error" not in sent

    @pytest.mark.parametrize(("item", "text"), ITEMS)
    def test_it_is_an_error_in_debug_mode(self, item: object, text: str) -> None:
        """The page shows the remedy while its author looks at the page."""
        app = Flask("shop")
        app.debug = True
        error = self._sent(app, item).rpartition(b"data: ")[2]
        assert json.loads(error)["message"] == text

    @pytest.mark.parametrize(("protocol", "told"), [("events", 1), (None, 0)])
    def test_without_an_end_of_its_own_an_answer_may_have_any_type(
        self, protocol: Any, told: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With ``protocol=None`` the type ``done`` is the app's own."""
        with Flask("shop").test_request_context():
            response = EventSourceResponse(
                [Event("hi", type="done")], protocol=protocol
            )
            assert b"event: done" in b"".join(response.response)  # type: ignore[arg-type]
            response.close()
        assert len(caplog.messages) == told

    def test_visitors_are_not_told_of_values(self) -> None:
        """Out of debug mode the text of an error stays in the log."""
        error = self._sent(Flask("shop"), math.nan).rpartition(b"data: ")[2]
        assert json.loads(error)["message"] == "the stream ended by an error"

    @pytest.mark.parametrize(
        "item",
        [":\n\n", "data", "\n\n", ["a", "b"], (1, 2), {"id": 7, "data": 8}, "", 0],
    )
    def test_ordinary_items_are_sent_in_silence(
        self, item: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A model's answer has tokens such as a colon with a blank line."""
        app = Flask("shop")
        app.debug = True
        assert b"event: error" not in self._sent(app, item)
        assert caplog.messages == []

    def test_a_heartbeat_in_milliseconds_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is accepted: a day is the limit."""
        with Flask("shop").test_request_context():
            EventSourceResponse([], heartbeat=15000).close()
        assert caplog.messages == [
            "EventSourceResponse has heartbeat=15000 (seconds, not milliseconds?)"
        ]

    def test_published_data_in_the_form_of_the_wire_is_told(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is published all the same: it may be meant as a text."""
        caplog.set_level(logging.WARNING, "flask_sse_hub.events")
        site.hub.publish("data: hi\n\n")
        assert (
            "an event was published whose data has `data:` and a blank line of its own,"
            " and clients receive them as text: publish the data alone"
        ) in caplog.messages


class TestWhatWorks:
    def test_a_uuid_is_an_id(self, shop: _Shop) -> None:
        """Flask-Login stores ``str(id)``, so both mean one user."""
        number = UUID(int=7)
        shop.publish("hi", user=number)
        shop.publish("hi", user=[number, "ada"])
        assert len(shop.published.events(user=str(number))) == 2

    @pytest.mark.parametrize("data", ["NaN", {"a": "NaN, Infinity"}, ["-Infinity"]])
    def test_a_text_may_be_called_nan(self, shop: _Shop, data: object) -> None:
        """Only a number can be NaN."""
        shop.publish(data)
        text = shop.published.one().data
        assert text == data or json.loads(text) == data

    def test_dumps_may_write_something_other_than_json(self, tmp_path: Any) -> None:
        """Its text is not checked."""
        publisher = Publisher(
            f"sqlite:///{tmp_path}/hub.db", create=True, dumps=lambda data: "NaN {"
        )
        publisher.publish(object())
        publisher.close()

    def test_an_error_of_the_app_is_not_reworded(self, shop: _Shop) -> None:
        """A TypeError from within a call is somebody else's."""

        def dumps(data: object) -> str:
            raise TypeError("mine")

        shop.app.json.dumps = dumps  # type: ignore[method-assign, assignment]
        with pytest.raises(TypeError, match=r"of type int cannot be .* mine"):
            shop.publish(7)

    def test_signatures_stay_readable(self) -> None:
        """Editors and help() show the arguments, and targets by their type."""
        parameters = inspect.signature(SSEHub.publish).parameters
        assert list(parameters)[:4] == ["self", "data", "type", "channel"]
        assert repr(parameters["channel"].default) == "UNSET"
        assert parameters["channel"].annotation == Target | type(
            parameters["channel"].default
        )
        assert "text/event-stream" not in str(inspect.signature(EventSourceResponse))

    def test_dir_lists_the_public_names(self) -> None:
        """``SSEHub`` and ``EventSourceResponse`` are loaded when they are used."""
        assert dir(flask_sse_hub) == sorted(flask_sse_hub.__all__)
