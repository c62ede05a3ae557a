"""Webhooks in an app: signatures, size limits, and publishing each delivery once."""

import hashlib
import hmac
import io
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, current_app, request
from flask.testing import FlaskClient
from werkzeug.exceptions import BadRequest
from werkzeug.routing import BaseConverter

from flask_sse_hub.webhooks import HMAC, Delivery, GitHub, StandardWebhooks, webhook
from tests.conftest import MakeSite, Site

SECRET = "a secret for tests"
BODY = b'{"n": 1}'
HEADER = "X-Hub-Signature-256"
UUID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


class Order:
    """An object that a converter makes."""

    def __init__(self, number: int) -> None:
        self.number = number


class ObjectConverter(BaseConverter):
    """A converter whose objects have no text of their own."""

    def to_python(self, value: str) -> Order:
        return Order(int(value))


class OrderConverter(ObjectConverter):
    """A converter that can also write its objects into a URL."""

    def to_url(self, value: Order) -> str:
        return str(value.number)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {HEADER: f"sha256={digest}", "X-GitHub-Delivery": "7"}


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that receives webhooks of GitHub and publishes them."""
    site = make_site(public_channels=["builds"])

    @site.app.post("/github")
    @webhook(GitHub(SECRET), max_bytes=1000)
    def pushed(delivery: Delivery) -> str:
        return publish(site, delivery)

    @site.app.post("/audit")
    @webhook(GitHub(SECRET))
    def audited(delivery: Delivery) -> str:
        return publish(site, delivery)

    @site.app.post("/tenants/<tenant>")
    @webhook(GitHub(lambda: current_app.config.get("SECRET_OF_TENANTS")))
    def of_tenant(delivery: Delivery, tenant: str) -> str:
        return f"{tenant} {publish(site, delivery)}"

    @site.app.post("/echo")
    @webhook(GitHub(SECRET))
    def echo(delivery: Delivery) -> dict[str, Any]:
        seen = request.get_data()
        return {"id": delivery.id, "same": seen == delivery.body == BODY}

    return site


def publish(site: Site, delivery: Delivery) -> str:
    return site.hub.publish(
        delivery.json(), channel="builds", idempotency_key=delivery.idempotency_key
    )


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.app.test_client()


class TestRefusals:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {HEADER: ""},
            {HEADER: f"sha256={'0' * 64}"},
            {HEADER: "sha256=\xff\xe9"},
            {HEADER: "," * 8000},
            signed(BODY, "another secret"),
            signed(b"another body"),
        ],
    )
    def test_a_delivery_without_a_valid_signature_is_401(
        self, client: FlaskClient, headers: dict[str, str]
    ) -> None:
        """No text in a header causes a server error."""
        assert client.post("/github", data=BODY, headers=headers).status_code == 401

    def test_a_refusal_reveals_no_secret(
        self, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither the answer nor the log shows the secret, a signature or the body."""
        body = b'{"token": "payload"}'
        wrong = signed(body, "another secret")
        answer = client.post("/github", data=body, headers=wrong)
        right = signed(body)[HEADER].removeprefix("sha256=")
        assert "does not fit" in caplog.text
        for text in (answer.text, caplog.text):
            for secret in (SECRET, right, wrong[HEADER], "payload"):
                assert secret not in text

    def test_the_log_is_not_flooded(
        self,
        client: FlaskClient,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Strangers can cause refusals at any rate."""
        for _ in range(5):
            client.post("/github")
        assert len(caplog.messages) == 1

    def test_refusals_do_not_hide_a_missing_secret_in_the_log(
        self, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Strangers can cause refusals; the operator must see the missing secret."""
        client.post("/tenants/ann")
        client.post("/tenants/ann", data=BODY, headers=signed(BODY))
        assert "secret" in caplog.messages[-1]

    def test_a_secret_that_is_missing_is_500(
        self, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The provider tries again later; the operator reads why in the log."""
        answer = client.post("/tenants/ann", data=BODY, headers=signed(BODY, ""))
        assert answer.status_code == 500
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "missing or empty" in record.message

    def test_a_callable_secret_is_called_for_each_delivery(
        self, client: FlaskClient, site: Site
    ) -> None:
        """A secret can be replaced while the app runs."""
        for secret in ("one", "two"):
            site.app.config["SECRET_OF_TENANTS"] = secret
            body = f'"{secret}"'.encode()
            answer = client.post(
                "/tenants/ann", data=body, headers=signed(body, secret)
            )
            assert answer.status_code == 200

    def test_a_time_is_compared_with_the_clock(self, site: Site) -> None:
        """Times are seconds since 1970, as providers send them."""
        scheme = HMAC("s", signed="{time}.{body}", time_header="X-Time")

        @site.app.post("/timed")
        @webhook(scheme)
        def timed(delivery: Delivery) -> bytes:
            return delivery.body

        def status(at: float) -> int:
            signature = hmac.new(b"s", f"{int(at)}.x".encode(), hashlib.sha256)
            headers = {
                "X-Time": str(int(at)),
                "X-Signature-256": f"sha256={signature.hexdigest()}",
            }
            client = site.app.test_client()
            return client.post("/timed", data="x", headers=headers).status_code

        assert status(time.time()) == 200
        assert status(time.time() - 400) == 401


class TestBody:
    def test_the_body_is_unchanged(self, client: FlaskClient) -> None:
        """The content type does not matter, and the request has the body too."""
        for mimetype in ("application/json", "application/x-www-form-urlencoded", ""):
            answer = client.post(
                "/echo", data=BODY, headers=signed(BODY), content_type=mimetype
            )
            assert answer.json == {"id": "7", "same": True}

    def test_a_hook_that_reads_the_body_first_does_no_harm(
        self, client: FlaskClient, site: Site
    ) -> None:
        """The body that get_data() has read stays available to the webhook."""
        site.app.before_request(lambda: request.get_data() and None)
        assert client.post("/echo", data=BODY, headers=signed(BODY)).status_code == 200

    def test_a_form_that_was_parsed_before_is_500(
        self, client: FlaskClient, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The raw bytes are gone, and the log says what may have read them."""
        site.app.before_request(lambda: request.form and None)
        body = b"payload=%7B%7D"
        answer = client.post(
            "/echo",
            data=body,
            headers=signed(body),
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status_code == 500
        assert "CSRF" in caplog.text

    @pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
    @pytest.mark.parametrize("is_chunked", [False, True], ids=["whole", "chunked"])
    def test_the_size_of_the_body_is_limited(
        self, client: FlaskClient, size: int, status: int, is_chunked: bool
    ) -> None:
        """The limit holds for a chunked body of unknown length too."""
        body = b" " * (size - 1) + b"1"
        assert post(client, body, is_chunked=is_chunked) == status

    @pytest.mark.parametrize("is_chunked", [False, True], ids=["whole", "chunked"])
    def test_the_apps_own_limit_counts_too(
        self, client: FlaskClient, site: Site, is_chunked: bool
    ) -> None:
        """The lower limit applies."""
        site.app.config["MAX_CONTENT_LENGTH"] = 10
        assert post(client, b" " * 9 + b"1", is_chunked=is_chunked) == 200
        assert post(client, b" " * 10 + b"1", is_chunked=is_chunked) == 413

    def test_a_body_that_stops_half_way_is_refused(self, client: FlaskClient) -> None:
        """The signature is that of the whole body."""
        answer = client.post(
            "/github",
            input_stream=io.BytesIO(BODY[:4]),
            headers=signed(BODY) | {"Content-Length": str(len(BODY))},
        )
        assert answer.status_code == 401

    @pytest.mark.parametrize(
        "body", [b"{", b"", b"NaN", b"-Infinity", b"1e999", b"[" * 900, b"\xff\xfe"]
    )
    def test_a_body_that_is_no_json_is_400(
        self, client: FlaskClient, body: bytes
    ) -> None:
        """A signed body that is no JSON cannot become an event."""
        answer = client.post("/github", data=body, headers=signed(body))
        assert answer.status_code == 400

    def test_deep_nesting_is_400(self) -> None:
        """The depth of the server's stack does not matter."""
        with pytest.raises(BadRequest, match="nested"):
            Delivery(None, "k", b"[" * 200_000).json()


def post(client: FlaskClient, body: bytes, *, is_chunked: bool) -> int:
    """Post a body as a server does that knows where chunks end."""
    if not is_chunked:
        return client.post("/github", data=body, headers=signed(body)).status_code
    return client.post(
        "/github",
        input_stream=io.BytesIO(body),
        headers=signed(body) | {"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    ).status_code


class TestOnce:
    def test_a_delivery_that_comes_twice_is_published_once(
        self, client: FlaskClient
    ) -> None:
        """The provider received no answer, or an attacker sends a captured delivery."""
        first = client.post("/github", data=BODY, headers=signed(BODY))
        others = signed(BODY) | {"X-GitHub-Delivery": "another"}
        second = client.post("/github", data=BODY, headers=others)
        assert first.status_code == 200
        assert first.text == second.text

    def test_another_delivery_is_another_event(self, client: FlaskClient) -> None:
        """The signed content differs."""
        ids = {
            client.post("/github", data=body, headers=signed(body)).text
            for body in (b"1", b"2")
        }
        assert len(ids) == 2

    def test_each_view_and_tenant_has_its_own_event(
        self, client: FlaskClient, site: Site
    ) -> None:
        """A provider may send the same delivery to two views, or for two tenants."""
        site.app.config["SECRET_OF_TENANTS"] = SECRET
        answers = [
            client.post(path, data=BODY, headers=signed(BODY))
            for path in ("/github", "/audit", "/tenants/ann", "/tenants/ben")
        ]
        assert len({answer.text.split()[-1] for answer in answers}) == 4

    def test_a_slash_at_the_end_is_no_other_view(self, site: Site) -> None:
        """A captured delivery does not become a new one by a slash."""

        @site.app.post("/lenient", strict_slashes=False)
        @webhook(GitHub(SECRET))
        def lenient(delivery: Delivery) -> str:
            return publish(site, delivery)

        client = site.app.test_client()
        first, second = (
            client.post(path, data=BODY, headers=signed(BODY)).text
            for path in ("/lenient", "/lenient/")
        )
        assert first == second

    @pytest.mark.parametrize(
        ("rule", "paths"),
        [
            ("/hook/<int:n>", ["/hook/7", "/hook/07", "/hook/0000007", "/hook/%37"]),
            ("/hook/<float:n>", ["/hook/7.0", "/hook/7.00", "/hook/07.0"]),
            ("/hook/<uuid:n>", [f"/hook/{UUID}", f"/hook/{UUID.upper()}"]),
            ("/hook/<order:n>", ["/hook/7", "/hook/07"]),
        ],
    )
    @pytest.mark.parametrize("removes", [False, True], ids=["view", "hook"])
    def test_another_spelling_of_the_url_is_no_other_delivery(
        self, site: Site, rule: str, paths: list[str], removes: bool
    ) -> None:
        """Anybody can spell a URL in another way, and send a captured delivery."""
        site.app.url_map.converters["order"] = OrderConverter

        @site.app.url_value_preprocessor
        def remove(_: str | None, values: dict[str, Any] | None) -> None:
            if removes and values:
                values.clear()

        @site.app.post(rule)
        @webhook(GitHub(SECRET))
        def hook(delivery: Delivery, n: object = None) -> str:
            return publish(site, delivery)

        client = site.app.test_client()
        answers = [client.post(path, data=BODY, headers=signed(BODY)) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1

    def test_each_object_of_a_converter_has_its_own_event(self, site: Site) -> None:
        """An object without a text of its own is told apart by its part of the URL."""
        site.app.url_map.converters["object"] = ObjectConverter

        @site.app.post("/hook/<object:n>")
        @webhook(GitHub(SECRET))
        def hook(delivery: Delivery, n: object) -> str:
            return publish(site, delivery)

        client = site.app.test_client()
        first, again, other = (
            client.post(f"/hook/{n}", data=BODY, headers=signed(BODY)).text
            for n in (7, 7, 8)
        )
        assert first == again
        assert first != other

    def test_each_host_has_its_own_event_if_routes_have_hosts(self) -> None:
        """Two tenants may have the same path and the same view."""
        app = Flask("hosts", host_matching=True, static_host="static.example")
        keys = []

        @app.post("/hook", host="ann.example")
        @app.post("/hook", host="<tenant>.site.example")
        @webhook(GitHub(SECRET))
        def hook(delivery: Delivery, tenant: str = "") -> str:
            keys.append(delivery.idempotency_key)
            return ""

        hosts = ["ann.example", "ben.site.example", "eve.site.example", "ANN.example"]
        for host in hosts:
            url = f"http://{host}/hook"
            app.test_client().post(url, data=BODY, headers=signed(BODY))
        assert len(set(keys[:3])) == 3
        assert keys[3:] == keys[:1]

    @pytest.mark.parametrize("delivery_id", ["msg_1", "x" * 6000, "a\tb \xff"])
    def test_a_key_is_always_a_usable_name(self, site: Site, delivery_id: str) -> None:
        """The delivery id may be long or have odd characters."""
        keys = []
        scheme = StandardWebhooks(b"s")

        @site.app.post("/standard")
        @webhook(scheme)
        def standard(delivery: Delivery) -> str:
            keys.append(delivery.idempotency_key)
            return publish(site, delivery)

        now = int(time.time())
        signed = f"{delivery_id}.{now}.".encode("latin-1") + BODY
        headers = {
            "webhook-id": delivery_id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{hmac.digest(b's', signed, 'sha256').hex()}",
        }
        client = site.app.test_client()
        assert client.post("/standard", data=BODY, headers=headers).status_code == 200
        assert keys[0].startswith("standard-webhooks-")
        assert len(keys[0]) <= 255
        assert keys[0].isascii()


def test_a_view_keeps_its_name_and_documentation() -> None:
    """Two decorated views are two endpoints."""

    def pushed(delivery: Delivery) -> str:
        """Say so."""
        return delivery.id or ""

    view: Callable[[], str] = webhook(GitHub(SECRET))(pushed)
    assert (view.__name__, view.__doc__) == ("pushed", "Say so.")


def test_a_delivery_does_not_show_its_body() -> None:
    """The repr of a delivery ends up in tracebacks and logs."""
    assert "payload" not in repr(Delivery(None, "k", b"payload"))
