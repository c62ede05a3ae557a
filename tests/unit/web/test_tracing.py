"""Traces by OpenTelemetry, and breadcrumbs of Sentry, of an app that has them."""

import hashlib
import hmac
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import Session

from flask_sse_hub import BrokerUnavailable, InvalidEvent, Outbox, Publisher, SSEHub
from flask_sse_hub.brokers import traced
from flask_sse_hub.runtime import tracing
from flask_sse_hub.webhooks import Delivery, GitHub, webhook
from tests.conftest import MakeSite, Site
from tests.kit.reader import EndOfStream, wait_until

SECRET = "a secret for tests"
SENDER = f"00-{7:032x}-{9:016x}-01"


class Spans:
    """The spans that have ended, by name."""

    def __init__(self, provider: Any, exporter: Any) -> None:
        self.provider = provider
        self.exporter = exporter

    def named(self, name: str) -> Any:
        (found,) = [each for each in self.all() if each.name == name]
        return found

    def all(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [each.name for each in self.all()]


def forget_modules(*names: str) -> None:
    for each in [each for each in sys.modules if each.partition(".")[0] in names]:
        del sys.modules[each]


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Spans]:
    """The SDK of OpenTelemetry, as an app sets it up."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield Spans(provider, exporter)
    provider.shutdown()
    # All other tests run as in an app that has not imported it.
    forget_modules("opentelemetry")


@pytest.fixture
def spans(everywhere: Spans) -> Spans:
    everywhere.exporter.clear()
    return everywhere


@pytest.fixture
def site(make_site: MakeSite, spans: Spans) -> Site:
    """An app whose requests are traced."""
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    site = make_site(login_required=False, public_channels=["builds"])
    FlaskInstrumentor().instrument_app(site.app, tracer_provider=spans.provider)

    @site.app.post("/publish")
    def publish() -> str:
        return site.hub.publish({"n": 1}, type="order", user=7)

    @site.app.get("/answer/<answer_id>")
    def read(answer_id: str) -> Response:
        return site.hub.answers.response(answer_id)

    @site.app.post("/github")
    @webhook(GitHub(SECRET))
    def pushed(delivery: Delivery) -> str:
        return site.hub.publish(delivery.json(), type="push", channel="builds")

    return site


def traceparent(span: Any) -> str:
    place = span.context
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


def linked(span: Any) -> list[int]:
    return [each.context.span_id for each in span.links]


def rest(reader: Any) -> None:
    with suppress(EndOfStream):
        while True:
            reader.next()


class TestPublishing:
    """A publish is a step of its request, and the append a step of the publish."""

    def test_the_steps_are_nested_and_name_no_person(
        self, site: Site, spans: Spans
    ) -> None:
        """The record carries the place of the publish."""
        event_id = site.browser().client.post("/publish").text
        request, publish, append = (
            spans.named(name)
            for name in ("POST /publish", "publish order", "append order")
        )
        assert publish.parent.span_id == request.context.span_id
        assert append.parent.span_id == publish.context.span_id
        assert append.links == ()
        assert publish.kind.name == append.kind.name == "PRODUCER"
        assert dict(publish.attributes) == {
            "messaging.system": "sse_hub",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.message.body.size": 8,
            "messaging.message.id": event_id,
            "sse_hub.type": "order",
            "sse_hub.targets": ("user",),
        }
        broker = site.app.extensions["sse_hub"].broker
        (record,) = broker.replay(broker.tail(10**6), page=10).records
        assert record.traceparent == traceparent(publish)

    def test_an_error_marks_the_steps(
        self, site: Site, spans: Spans, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So does an event that cannot be encoded: it has no step at all."""

        def away(record: object) -> None:
            raise BrokerUnavailable("the broker is away")

        with pytest.raises(InvalidEvent):
            site.hub.publish(object())
        monkeypatch.setattr(site.app.extensions["sse_hub"].broker, "publish", away)
        with pytest.raises(BrokerUnavailable):
            site.hub.publish("x")
        assert spans.names() == ["append message", "publish message"]
        for each in spans.all():
            assert each.status.status_code.name == "ERROR"

    @pytest.mark.parametrize("stored", [False, True])
    def test_an_append_after_a_commit_links_to_its_publish(
        self, spans: Spans, stored: bool, tmp_path: Path
    ) -> None:
        """The publish is over by then, and its request perhaps too."""
        engine = create_engine("sqlite://")
        metadata = MetaData()
        outbox = Outbox(metadata, engine=engine)
        metadata.create_all(engine)
        app = Flask("site")
        app.config["SSE_HUB_BROKER_URL"] = f"sqlite:///{tmp_path}/hub.db"
        app.config["SECRET_KEY"] = "a key for tests"
        hub = SSEHub(app, outbox=outbox)
        with app.app_context(), Session(engine) as session:
            with spans.provider.get_tracer("app").start_as_current_span("request"):
                hub.publish("x", after=session, outbox=stored)
            session.commit()
        wait_until(lambda: "append message" in spans.names())
        publish, append = (
            spans.named(name) for name in ("publish message", "append message")
        )
        assert publish.parent is not None
        assert linked(append) == [publish.context.span_id]
        app.extensions["sse_hub"].close()
        engine.dispose()

    def test_a_publisher_takes_part(self, spans: Spans, tmp_path: Path) -> None:
        """A task publishes in the trace of its queue."""
        publisher = Publisher(f"sqlite:///{tmp_path}/hub.db", create=True)
        with spans.provider.get_tracer("app").start_as_current_span("task"):
            publisher.publish("x", channel="builds")
        publisher.close()
        publish = spans.named("publish message")
        assert publish.parent.span_id == spans.named("task").context.span_id
        assert publish.attributes["messaging.destination.name"] == "builds"

    def test_a_disconnect_from_a_request_links_to_it(
        self, site: Site, spans: Spans
    ) -> None:
        """Another thread appends the record, after the request perhaps."""

        @site.app.post("/end")
        def end() -> str:
            site.hub.disconnect(user="7")
            return ""

        site.browser().client.post("/end")
        wait_until(lambda: "append disconnect" in spans.names())
        request = spans.named("POST /end")
        assert linked(spans.named("append disconnect")) == [request.context.span_id]

    def test_an_app_whose_tracing_fails_publishes_all_the_same(
        self,
        site: Site,
        spans: Spans,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The caller would publish again what is in the log already."""
        from opentelemetry.sdk.trace import Span

        def fail(*_: object) -> None:
            raise ValueError("a processor is broken")

        for each in ("end", "set_attribute"):
            monkeypatch.setattr(Span, each, fail)
        assert site.hub.publish("x")
        assert "the app's tracing failed, and events go on [SSE-1903]" in caplog.text


class TestAnswers:
    """The iterable goes on in the trace of its request, and readers link to it."""

    def test_the_parts_belong_to_the_request_that_began(
        self, site: Site, spans: Spans
    ) -> None:
        """So do the spans of the app's own iterable, as of a language model."""

        @site.app.post("/ask")
        def ask() -> Response:
            return site.hub.answers.start(words(), merge="".join, user=None).response()

        def words() -> Iterator[str]:
            with spans.provider.get_tracer("model").start_as_current_span("model"):
                yield "hello"

        alice = site.browser("alice")
        response = alice.client.post("/ask")
        answer_id = response.headers["Answer-ID"]
        rest(site.read(response))
        rest(alice.stream(f"/answer/{answer_id}"))
        wait_until(lambda: spans.names().count("append answer") == 2)
        request = spans.named("POST /ask")
        within = {
            each.name
            for each in spans.all()
            if each.context.trace_id == request.context.trace_id
        }
        assert within == {"POST /ask", "append answer", "append part", "model"}
        begun = next(each for each in spans.all() if each.name == "append answer")
        reader = spans.named("GET /answer/<answer_id>")
        assert linked(reader) == [begun.context.span_id]

    def test_a_task_answers_in_its_trace(self, spans: Spans, tmp_path: Path) -> None:
        """Its runner has a thread of its own."""
        publisher = Publisher(f"sqlite:///{tmp_path}/hub.db", create=True)
        with (
            spans.provider.get_tracer("app").start_as_current_span("task") as task,
            publisher.answer("report", user=7) as out,
        ):
            out.write("x")
        publisher.close()
        assert sorted(spans.names()) == [
            *("append answer", "append answer", "append part", "task")
        ]
        found = {each.context.trace_id for each in spans.all()}
        assert found == {task.get_span_context().trace_id}


def test_a_delivery_is_a_step_and_its_sender_a_link(site: Site, spans: Spans) -> None:
    """The publish belongs to the delivery. A header that is not signed is no parent."""
    body = b'{"n": 1}'
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": "5"}
    site.browser().client.post(
        "/github", data=body, headers={**headers, "traceparent": SENDER}
    )
    receive = spans.named("receive github")
    assert receive.kind.name == "CONSUMER"
    assert linked(receive) == [9]
    publish = spans.named("publish push")
    assert publish.parent.span_id == receive.context.span_id
    for sender in ("", "00-x", f"00-{0:032x}-{0:016x}-00"):
        spans.exporter.clear()
        with site.app.test_request_context(
            "/github", method="POST", data=body, headers=headers
        ) as context:
            context.request.environ["HTTP_TRACEPARENT"] = sender
            site.app.dispatch_request()
        assert spans.named("receive github").links == ()


def test_a_stream_is_no_span(
    site: Site, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """Its beginning is an event of the request, and its end a line of that trace."""
    from opentelemetry import trace

    ends: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "ended" in record.getMessage():
                ends.append(trace.get_current_span().get_span_context())

    logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
    handler = Handler()
    logger.addHandler(handler)
    caplog.set_level(logging.INFO, logger.name)
    stream = site.browser().stream("/events?channel=builds")
    stream.next("connected")
    stream.close()
    wait_until(lambda: bool(ends))
    logger.removeHandler(handler)
    request = spans.named("GET /events")
    (opened,) = request.events
    assert opened.name == "sse_hub.stream.opened"
    assert opened.attributes["sse_hub.channels"] == ("builds",)
    assert ends[0].trace_id == request.context.trace_id
    assert spans.names() == ["GET /events"]


def test_sentry_shows_the_publishes_before_an_error(make_site: MakeSite) -> None:
    """A breadcrumb has neither data nor the ids of people."""
    import sentry_sdk

    sent: list[Any] = []
    sentry_sdk.init(
        dsn="http://key@localhost/1",
        default_integrations=False,
        before_send=lambda event, _: sent.append(event),
    )
    site = make_site(login_required=False)
    with sentry_sdk.isolation_scope():
        site.hub.publish({"secret": 1}, type="order", user=7)
        sentry_sdk.capture_message("an error")
    sentry_sdk.get_client().close()
    forget_modules("sentry_sdk")
    (crumb,) = sent[0]["breadcrumbs"]["values"]
    assert crumb["category"] == "sse_hub"
    assert crumb["message"] == "publish order"
    assert crumb["data"]["sse_hub.targets"] == ["user"]
    assert "secret" not in str(crumb)


@pytest.mark.parametrize("call", [traced.publish, traced.append])
def test_an_app_without_them_pays_for_two_look_ups(
    call: Any, make_site: MakeSite
) -> None:
    """Nothing is imported, and nothing of the tracing is called on the way."""
    forget_modules("opentelemetry", "sentry_sdk")
    site = make_site()
    state = site.app.extensions["sse_hub"]
    record = state.composer.record("x")
    called: list[tuple[str, str]] = []

    def note(frame: Any, event: str, argument: object) -> None:
        if event == "call":
            called.append((frame.f_code.co_filename, frame.f_code.co_name))

    state.hub.start()
    sys.setprofile(note)
    try:
        if call is traced.publish:
            state.publish(record)
        else:
            call(state.broker, record)
    finally:
        sys.setprofile(None)
    of_tracing = {name for file, name in called if file == tracing.__file__}
    assert of_tracing == {"is_on"}
    assert not {"opentelemetry", "sentry_sdk"} & sys.modules.keys()
