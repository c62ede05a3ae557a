"""Publishing over HTTP: permissions, valid bodies, refusals and answers."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_wtf import CSRFProtect
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub import BrokerUnavailable, Event, SSEHub, event_published
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.testing import Published
from flask_sse_hub.web.publish_api import MAX_EVENTS, body_limit
from tests.conftest import MakeSite, Site

TOKEN = "a-token-for-everything"
NARROW = "a-token-for-orders-only"
OTHER = "another-one-for-orders"
TOKENS = [
    TOKEN,
    {"token": NARROW, "channels": ["orders.*"], "name": "shop"},
    {"token": OTHER, "channels": ["orders.*"]},
]
EVENT = {"data": "x", "target": "everyone"}


class Log(Published):
    """The events that one app has published, and a client that publishes to it."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.app)
        self.site = site

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events()]

    def post(self, body: Any, *, token: str | None = TOKEN, **options: Any) -> Any:
        """Post a body: bytes unchanged, anything else as JSON."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.site.app.test_client().post(
            "/events/publish",
            data=body if isinstance(body, bytes) else json.dumps(body),
            **{"headers": headers, "content_type": "application/json", **options},
        )


@pytest.fixture
def log(make_site: MakeSite) -> Log:
    return Log(make_site(publish_tokens=TOKENS, max_event_bytes=1000))


def refusal(response: Any) -> tuple[int, str | None]:
    """Return the status of a refusal and the field that it names; it is JSON."""
    assert response.mimetype == "application/json"
    body = response.json
    assert isinstance(body["error"], str)
    return response.status_code, body.get("field")


class TestPublishing:
    def test_an_event_is_in_the_log_as_publish_would_put_it(self, log: Log) -> None:
        """The API takes everything that publish() takes and returns the event id."""
        target = {
            "channel": "a",
            "user": [7, 8, "9"],
            "session": ["s"],
            "client": "c",
        }
        response = log.post(
            {
                "data": [1],
                "type": "t",
                "target": target,
                "retry": 2.5,
                "exclude_client": ["me"],
            }
        )
        (event,) = log.events()
        assert response.status_code == 202
        assert response.json == {"id": event.id}
        assert (event.data, event.type, event.retry) == ("[1]", "t", 2.5)
        assert event.exclude_clients == ("me",)
        assert event.target == {
            "channel": ["a"],
            "user": ["7", "8", "9"],
            "session": ["s"],
            "client": ["c"],
        }

    @pytest.mark.parametrize(
        ("data", "text"),
        [("x", "x"), ("", ""), (None, "null"), (7, "7"), ([1, "é"], '[1,"\\u00e9"]')],
    )
    def test_data_is_text_or_any_json(self, log: Log, data: Any, text: str) -> None:
        """Text arrives unchanged."""
        assert log.post({"data": data, "target": "everyone"}).status_code == 202
        assert [each.replace(" ", "") for each in log.data] == [text]

    def test_a_broadcast_names_everyone_as_its_target(self, log: Log) -> None:
        """Leaving out the target never makes a broadcast."""
        log.post(EVENT)
        (event,) = log.events()
        assert event.target == "everyone"

    def test_a_list_is_published_in_its_order(self, log: Log) -> None:
        """The answer has one id for each event."""
        response = log.post([EVENT | {"data": str(n)} for n in range(MAX_EVENTS)])
        assert response.status_code == 202
        assert response.json == {"ids": [each.id for each in log.events()]}
        assert log.data == [str(n) for n in range(MAX_EVENTS)]

    def test_a_list_is_published_as_a_whole_or_not_at_all(self, log: Log) -> None:
        """One event that is refused keeps back those before it."""
        wrong = {"data": "x", "target": {"user": ""}}
        assert refusal(log.post([EVENT, EVENT, wrong])) == (400, "[2].target.user")
        assert log.events() == []

    def test_an_idempotency_key_publishes_once(self, log: Log) -> None:
        """A webhook that is delivered twice makes one event with one id."""
        event = EVENT | {"idempotency_key": "k" * 237}
        first, again = log.post(event), log.post(event)
        assert first.json == again.json
        assert len(log.events()) == 1

    def test_an_idempotency_key_is_scoped_to_its_token(self, log: Log) -> None:
        """A key cannot suppress another token's events or reveal their ids."""
        event = {"data": "x", "target": {"channel": "orders.1"}, "idempotency_key": "k"}
        ids = {log.post(event, token=each).json["id"] for each in (NARROW, OTHER)}
        ids.add(log.site.hub.publish("x", idempotency_key="k"))
        assert len(ids) == 3

    def test_the_signal_is_sent(self, log: Log) -> None:
        """As for any event, an error in a receiver is logged and goes no further."""
        told: list[str] = []

        def receive(sender: Flask, event: Event, event_id: str) -> None:
            told.append(event_id)
            raise RuntimeError

        with event_published.connected_to(receive, sender=log.site.app):
            response = log.post(EVENT)
        assert told == [response.json["id"]]

    def test_publishing_works_while_the_worker_drains(self, log: Log) -> None:
        """Requests in flight are served to the end."""
        log.site.hub.drain()
        assert log.post(EVENT).status_code == 202


class TestTokens:
    def test_without_tokens_there_is_no_route(self, site: Site) -> None:
        """Publishing over HTTP is off until tokens are configured."""
        assert site.app.test_client().post("/events/publish").status_code == 404

    @pytest.mark.parametrize("token", [None, "", "a-token-for-everythinG", "é" * 16])
    def test_a_request_without_a_valid_token_is_refused(
        self, log: Log, token: str | None
    ) -> None:
        """The token is checked before any part of the body."""
        response = log.post(b"{", token=token)
        assert refusal(response) == (401, None)
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        ("target", "field"),
        [
            ("everyone", "target"),
            ({"channel": "news"}, "target.channel"),
            ({"channel": ["orders.1", "news"]}, "target.channel"),
            ({"channel": "orders.1", "user": 7}, "target.user"),
            ({"session": "s"}, "target.session"),
            ({"client": "c"}, "target.client"),
        ],
    )
    def test_a_target_out_of_scope_is_refused(
        self, log: Log, target: Any, field: str
    ) -> None:
        """Each target of an event is checked, whatever else the event is for."""
        event = {"data": "x", "target": target}
        assert refusal(log.post(event, token=NARROW)) == (403, field)
        assert log.events() == []

    def test_a_target_in_scope_is_published(self, log: Log) -> None:
        """The channels match the token's pattern."""
        event = {"data": "x", "target": {"channel": ["orders.1", "orders.2"]}}
        assert log.post(event, token=NARROW).status_code == 202

    def test_a_list_is_within_scope_as_a_whole(self, log: Log) -> None:
        """One event out of scope keeps back the whole list."""
        mine = {"data": "x", "target": {"channel": "orders.1"}}
        assert refusal(log.post([mine, EVENT], token=NARROW)) == (403, "[1].target")
        assert log.events() == []

    @pytest.mark.parametrize(
        ("type", "allowed"),
        [("order.paid", True), ("order.", True), ("note", False), (None, False)],
    )
    def test_a_token_may_be_limited_to_types(
        self, make_site: MakeSite, type: str | None, allowed: bool
    ) -> None:
        """An event without a type is a "message", which has to be allowed too."""
        log = Log(make_site(publish_tokens=[{"token": TOKEN, "types": ["order.*"]}]))
        event = EVENT if type is None else EVENT | {"type": type}
        response = log.post([event])
        if allowed:
            assert response.status_code == 202
        else:
            assert refusal(response) == (403, "[0].type")
        assert len(log.events()) == allowed

    def test_a_rate_counts_the_events_of_one_token(self, make_site: MakeSite) -> None:
        """Requests of many events cannot push the history of others out."""
        log = Log(
            make_site(
                publish_tokens=[
                    {"token": TOKEN, "rate": "3/hour"},
                    {"token": NARROW, "rate": "3/hour"},
                ]
            )
        )
        assert log.post([EVENT, EVENT]).status_code == 202
        refused = log.post([EVENT, EVENT])
        assert refusal(refused) == (429, None)
        assert int(refused.headers["Retry-After"]) > 0
        assert log.post({"data": "x"}).status_code == 400
        assert log.post(EVENT).status_code == 202
        assert log.post(EVENT).status_code == 429
        assert log.post(EVENT, token=NARROW).status_code == 202
        assert len(log.events()) == 4

    @pytest.mark.parametrize("bound", ["events", "bytes"])
    def test_a_share_bounds_the_part_of_the_log(
        self, make_site: MakeSite, bound: str
    ) -> None:
        """The token's events leave the rest of history to others."""
        data, most = ("x", 4) if bound == "events" else ("x" * 600, 2)
        log = Log(
            make_site(
                publish_tokens=[{"token": TOKEN, "share": 0.5}, NARROW],
                history_events=8,
                history_bytes=4_096,
                memory_history_bytes=4_096,
                max_event_bytes=1_000,
            )
        )
        event = EVENT | {"data": data}
        assert log.post([event] * most).status_code == 202
        refused = log.post(event)
        assert refusal(refused) == (429, None)
        assert f"{bound} more" in refused.text
        assert log.post(event, token=NARROW).status_code == 202
        assert len(log.events()) == most + 1

    def test_a_login_is_no_token(self, log: Log) -> None:
        """Cookies are ignored, so a forged request cannot use them."""
        response = log.site.browser("alice").client.post("/events/publish", json=EVENT)
        assert response.status_code == 401


class TestBodies:
    @pytest.mark.parametrize(
        ("event", "field"),
        [
            (7, None),
            ("everyone", None),
            (None, None),
            ({"target": "everyone"}, "data"),
            ({"data": "x"}, "target"),
            ({"data": "x", "target": None}, "target"),
            ({"data": "x", "target": {}}, "target"),
            ({"data": "x", "target": []}, "target"),
            ({"data": "x", "target": "all"}, "target"),
            ({"data": "x", "target": {"channel": []}}, "target.channel"),
            ({"data": "x", "target": {"user": 7, "client": []}}, "target.client"),
            ({"data": "x", "target": {"users": 7}}, "target.users"),
            ({"data": "x", "target": {"user": None}}, "target.user"),
            ({"data": "x", "target": {"user": [1, None]}}, "target.user"),
            ({"data": "x", "target": {"user": True}}, "target.user"),
            ({"data": "x", "target": {"user": 1.5}}, "target.user"),
            ({"data": "x", "target": {"user": {"id": 1}}}, "target.user"),
            ({"data": "x", "target": {"user": "a\nb"}}, "target.user"),
            ({"data": "x", "target": {"user": "\ud800"}}, "target.user"),
            ({"data": "x", "target": {"user": 10**300}}, "target.user"),
            ({"data": "x", "target": {"channel": 7}}, "target.channel"),
            ({"data": "x", "target": {"channel": "c" * 256}}, "target.channel"),
            ({"data": "\ud800", "target": "everyone"}, "data"),
            (EVENT | {"typ": "x"}, "typ"),
            (EVENT | {"\ud800" * 99: "x"}, "\ud800" * 50),
            (EVENT | {"type": None}, "type"),
            (EVENT | {"type": 7}, "type"),
            (EVENT | {"type": "ping"}, "type"),
            (EVENT | {"retry": "5"}, "retry"),
            (EVENT | {"retry": -1}, "retry"),
            (EVENT | {"retry": 5000}, "retry"),
            (EVENT | {"retry": 10**400}, "retry"),
            (EVENT | {"ttl": "5"}, "ttl"),
            (EVENT | {"ttl": -1}, "ttl"),
            (EVENT | {"ttl": 604_801}, "ttl"),
            (EVENT | {"ttl": True}, "ttl"),
            (EVENT | {"ttl": None}, "ttl"),
            (EVENT | {"receipt": 1}, "receipt"),
            (EVENT | {"receipt": None}, "receipt"),
            (EVENT | {"exclude_client": {}}, "exclude_client"),
            (EVENT | {"exclude_client": None}, "exclude_client"),
            (EVENT | {"idempotency_key": ""}, "idempotency_key"),
            (EVENT | {"idempotency_key": None}, "idempotency_key"),
            (EVENT | {"idempotency_key": "k" * 238}, "idempotency_key"),
        ],
    )
    def test_a_bad_field_is_refused_by_name(
        self, log: Log, event: Any, field: str | None
    ) -> None:
        """In a list, the answer has the event's position too."""
        assert refusal(log.post(event)) == (400, field)
        place = "[1]" + (f".{field}" if field else "")
        assert refusal(log.post([EVENT, event])) == (400, place)
        assert log.events() == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b"\xef\xbb\xbf{}",
            json.dumps(EVENT).encode("utf-16"),
            b"[]",
            json.dumps([EVENT] * (MAX_EVENTS + 1)).encode(),
            b"[" * 100_000,
            b'{"data": ' + b"[" * 900 + b"]" * 900 + b', "target": {}}',
            b'{"data": NaN, "target": "everyone"}',
            b'{"data": [-Infinity], "target": "everyone"}',
            b'{"data": 1e999, "target": "everyone"}',
            b'{"data": ' + b"9" * 5000 + b', "target": "everyone"}',
            b'{"data": "x", "target": {"channel": "a"}, "target": "everyone"}',
            b'{"data": "x", "target": {"user": 1, "user": 2}}',
        ],
    )
    def test_a_body_that_is_no_json_is_refused(self, log: Log, body: bytes) -> None:
        """JSON that parsers could read in two ways is refused too."""
        assert refusal(log.post(body))[0] == 400
        assert log.events() == []

    @pytest.mark.parametrize(
        "body",
        [
            {"data": "x", "target": {"user": [1] * 10_001}},
            {"data": "x", "target": {"user": [1] * 9_999}, "exclude_client": ["c"] * 2},
            [{"data": "x", "target": {"user": [1] * 5_000, "client": [1]}}] * 2,
        ],
    )
    def test_more_names_than_one_event_may_have_are_refused(
        self, log: Log, body: Any
    ) -> None:
        """The limit holds for the whole request, which would occupy the worker."""
        assert refusal(log.post(body)) == (400, None)

    @pytest.mark.parametrize("type", ["", "text/plain", "multipart/form-data"])
    def test_another_content_type_is_refused(self, log: Log, type: str) -> None:
        """A browser's form cannot send `application/json`."""
        response = log.post(json.dumps(EVENT).encode(), content_type=type)
        assert refusal(response) == (415, None)

    def test_a_parameter_of_the_content_type_does_no_harm(self, log: Log) -> None:
        """Many clients add the charset."""
        response = log.post(EVENT, content_type="application/json; charset=utf-8")
        assert response.status_code == 202

    def test_data_that_is_too_long_is_refused(self, log: Log) -> None:
        """The limit is that of publish()."""
        event = {"data": "x" * 1001, "target": "everyone"}
        assert refusal(log.post([event])) == (413, "[0].data")

    def test_the_largest_event_fits_however_it_is_written(self, log: Log) -> None:
        """JSON may take six bytes for one byte of text."""
        body = '{"data": "%s", "target": "everyone"}' % (r"\u0061" * 1000)
        assert log.post(body.encode()).status_code == 202
        assert log.data == ["a" * 1000]


class Pieces:
    """A body that arrives in pieces and may break off with an error."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = iter(pieces)
        self.taken = 0

    def read(self, size: int) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, Exception):
            raise piece
        assert len(piece) <= size
        self.taken += len(piece)
        return piece


class TestLengths:
    BODY = json.dumps(EVENT).encode()

    def send(self, log: Log, body: Pieces, length: int | None) -> Any:
        """Send a body through a server that ends the input itself, as gunicorn does."""
        return log.post(
            b"",
            environ_overrides={
                "wsgi.input": body,
                "wsgi.input_terminated": True,
                "CONTENT_LENGTH": "" if length is None else str(length),
                "HTTP_TRANSFER_ENCODING": "chunked" if length is None else "",
            },
        )

    @pytest.mark.parametrize("with_length", [True, False])
    def test_a_body_may_come_in_pieces(self, log: Log, with_length: bool) -> None:
        """The body may have a Content-Length or not."""
        pieces = Pieces(*(self.BODY[n : n + 1] for n in range(len(self.BODY))))
        length = len(self.BODY) if with_length else None
        assert self.send(log, pieces, length).status_code == 202

    @pytest.mark.parametrize("most", [None, 5000])
    def test_a_long_body_is_refused_by_its_length(
        self, log: Log, most: int | None
    ) -> None:
        """The body is not read. A smaller MAX_CONTENT_LENGTH of the app counts too."""
        log.site.app.config["MAX_CONTENT_LENGTH"] = most
        pieces = Pieces(self.BODY)
        length = (most or body_limit(1000)) + 1
        assert refusal(self.send(log, pieces, length)) == (413, None)
        assert pieces.taken == 0

    @pytest.mark.parametrize("most", [None, 5000])
    def test_a_chunked_body_is_read_no_further_than_allowed(
        self, log: Log, most: int | None
    ) -> None:
        """A chunked body does not announce its length."""
        log.site.app.config["MAX_CONTENT_LENGTH"] = most
        limit = most or body_limit(1000)
        whole = self.BODY + b" " * (limit - len(self.BODY))
        parts = [whole[at : at + 32_768] for at in range(0, limit, 32_768)]
        pieces = Pieces(*parts, *[b" "] * 99)
        assert refusal(self.send(log, pieces, None)) == (413, None)
        assert pieces.taken <= limit + 1

    def test_a_body_of_exactly_the_apps_limit_is_accepted(self, log: Log) -> None:
        """Every other view of the app accepts it too."""
        log.site.app.config["MAX_CONTENT_LENGTH"] = len(self.BODY)
        assert log.post(self.BODY).status_code == 202

    @pytest.mark.parametrize(
        ("broken", "length"),
        [
            (Pieces(BODY), len(BODY) + 1),
            (Pieces(BODY, OSError()), None),
            (Pieces(BODY, Exception("an error of the server's own")), None),
        ],
    )
    def test_a_body_that_breaks_off_publishes_nothing(
        self, log: Log, broken: Pieces, length: int | None
    ) -> None:
        """A valid beginning of a body is not published either."""
        assert refusal(self.send(log, broken, length)) == (400, None)
        assert log.events() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)
near_events = st.fixed_dictionaries(
    {},
    optional={
        "data": json_values,
        "target": st.just("everyone")
        | st.dictionaries(
            st.sampled_from(["channel", "user", "session", "client", "users"]),
            json_values | st.text(max_size=3) | st.lists(st.integers() | st.text()),
        )
        | json_values,
        "type": st.text(max_size=3) | json_values,
        "retry": st.floats(0, 9) | json_values,
        "ttl": st.floats(0, 9) | json_values,
        "receipt": st.booleans() | json_values,
        "exclude_client": st.text(max_size=3) | json_values,
        "idempotency_key": st.text(max_size=3) | json_values,
    },
)


@pytest.fixture(scope="module")
def one_log() -> Iterator[Log]:
    """A log for all examples of a property."""
    site = Site(publish_tokens=TOKENS, max_event_bytes=1000)
    yield Log(site)
    site.close()


class TestAnyBody:
    @given(body=near_events | st.lists(near_events, max_size=3) | json_values)
    def test_json_is_published_or_refused(self, one_log: Log, body: Any) -> None:
        """There is never a server error, and a refused body publishes nothing."""
        before = len(one_log.events())
        response = one_log.post(body)
        published = len(one_log.events()) - before
        if response.status_code == 202:
            assert published <= (len(body) if isinstance(body, list) else 1)
        else:
            assert refusal(response)[0] in {400, 413}
            assert published == 0

    @given(body=st.binary())
    def test_random_bytes_are_refused(self, one_log: Log, body: bytes) -> None:
        """Bytes of any kind are answered with 400."""
        assert refusal(one_log.post(body))[0] == 400


class TestKeys:
    def test_an_event_may_be_the_value_of_a_key(self, log: Log) -> None:
        """A client that asks for the state begins with it."""
        assert log.post({**EVENT, "key": "price:AAPL"}).status_code == 202
        assert log.post({**EVENT, "key": "k", "delete": True}).status_code == 202
        assert [(event.key, event.deleted) for event in log.events()] == [
            ("price:AAPL", False),
            ("k", True),
        ]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"key": ""}, "key"),
            ({"key": 7}, "key"),
            ({"key": "a\nb"}, "key"),
            ({"delete": True}, "data"),
            ({"key": "k", "delete": "yes"}, "delete"),
            ({"key": None}, "key"),
        ],
    )
    def test_a_fault_is_named(
        self, log: Log, fields: dict[str, Any], field: str
    ) -> None:
        """Nothing is published then."""
        assert refusal(log.post({**EVENT, **fields})) == (400, field)
        assert log.data == []

    def test_a_full_state_is_answered_with_507(self, make_site: MakeSite) -> None:
        """The answer has the ids of the events before it."""
        log = Log(make_site(publish_tokens=TOKENS, state_keys=1))
        response = log.post([{**EVENT, "key": key} for key in ("a", "b", "c")])
        assert refusal(response) == (507, "[1]")
        assert response.json["ids"] == [each.id for each in log.events()]
        assert "SSE_HUB_STATE_KEYS" in response.json["error"]
        assert refusal(log.post({**EVENT, "key": "b"})) == (507, None)


def test_an_event_may_have_a_ttl(make_site: MakeSite) -> None:
    """It comes before that of the channel in the app's settings."""
    log = Log(make_site(publish_tokens=TOKENS, ttl={"typing.*": 5}))
    typing = {"data": "x", "target": {"channel": "typing.7"}}
    assert log.post([typing, {**typing, "ttl": 0}, EVENT]).status_code == 202
    assert [event.ttl for event in log.events()] == [5.0, 0.0, None]


def test_an_event_may_ask_for_a_receipt(make_site: MakeSite) -> None:
    """The app has it by the id of the event, and is told of silence."""
    log = Log(make_site(publish_tokens=TOKENS))
    assert log.post([{**EVENT, "receipt": True}, EVENT]).status_code == 202
    assert [event.receipt for event in log.events()] == [True, False]


class TestBroker:
    def test_a_broker_that_is_away_is_answered_with_503(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer has the ids published so far; the next event's fate is unknown."""
        hub = log.site.app.extensions["sse_hub"].hub
        publish: Callable[[Record], Cursor] = hub.broker.publish

        def publish_one(record: Record) -> Cursor:
            if len(log.events()) == 1:
                raise BrokerUnavailable("redis://user:s3cret@host is away")
            return publish(record)

        monkeypatch.setattr(hub.broker, "publish", publish_one)
        response = log.post([EVENT, EVENT, EVENT])
        assert refusal(response) == (503, "[1]")
        assert int(response.headers["Retry-After"]) > 0
        assert response.json["ids"] == [each.id for each in log.events()]
        assert "unknown" in response.json["error"]
        assert "s3cret" not in response.text
        assert log.post(EVENT).json["ids"] == []


class TestRefusalsInTheLog:
    def test_refusals_are_warnings_without_secrets(
        self, log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log names the token, but has neither its text nor the body."""
        caplog.set_level(logging.DEBUG)
        event = {"data": "s3cret", "target": "everyone", "idempotency_key": "s3cret"}
        log.post(event)
        log.post(event, token="s3cret")
        log.post(event | {"s3cret": 1})
        log.post(event, token=NARROW)
        warnings = [r for r in caplog.records if r.name.startswith("flask_sse_hub")]
        assert [r.levelname for r in warnings] == ["WARNING"] * 3
        assert "token shop" in caplog.text
        for secret in ("s3cret", TOKEN, NARROW):
            assert secret not in caplog.text

    def test_each_kind_of_refusal_is_logged_once_a_minute(
        self, log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An attacker who guesses tokens cannot fill the disk."""
        for _ in range(5):
            log.post(EVENT, token="wrong")
            log.post({})
        assert len(caplog.records) == 2

    def test_a_forged_remote_address_forges_no_log_line(
        self, log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With ProxyFix, the address is a header that a client may have written."""
        made_up = "\x1b[2J\x9b\x85" + "A" * 1000
        log.post(EVENT, token=None, environ_base={"REMOTE_ADDR": made_up})
        (line,) = caplog.messages
        assert line.isprintable()
        assert len(line) < 200


class TestBesideTheApp:
    @pytest.mark.parametrize("first", ["csrf", "hub"])
    def test_no_csrf_token_is_needed(self, first: str) -> None:
        """Either extension may be added first; other views stay protected."""
        app = Flask("guarded")
        app.config.update(
            SECRET_KEY="a key for tests",
            SSE_HUB_BROKER_URL="memory://",
            SSE_HUB_PUBLISH_TOKENS=[TOKEN],
        )
        for extension in ["csrf", "hub"] if first == "csrf" else ["hub", "csrf"]:
            CSRFProtect(app) if extension == "csrf" else SSEHub(app)
        app.post("/guarded")(lambda: "in")
        client = app.test_client()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = client.post("/events/publish", json=EVENT, headers=headers)
        assert response.status_code == 202
        assert client.post("/guarded", headers=headers).status_code == 400

    def test_another_extension_named_csrf_does_no_harm(self, log: Log) -> None:
        """Not every extension with the name `csrf` can exempt views."""
        log.site.app.extensions["csrf"] = object()
        assert log.post(EVENT).status_code == 202

    def test_the_session_is_not_read(self, make_site: MakeSite) -> None:
        """No answer sets a cookie or varies by one."""
        response = Log(make_site(publish_tokens=TOKENS, login=False)).post(EVENT)
        assert response.status_code == 202
        assert not {"Set-Cookie", "Vary"} & {*response.headers.keys()}

    def test_the_apps_error_pages_do_not_replace_the_answer(self, log: Log) -> None:
        """The caller is a program and needs JSON."""
        log.site.app.register_error_handler(400, lambda error: ("<h1>Oops</h1>", 400))
        assert refusal(log.post({})) == (400, "data")
