"""Signed deliveries that are sent: to a receiver that is well, ill, lying or away."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from flask_sse_hub.webhooks import StandardWebhooks
from flask_sse_hub.webhooks.sending import Sender
from tests.kit.certificates import make_certificate
from tests.kit.ports import HOST, free_port
from tests.kit.receiver import Receiver, reply

OLD, NEW = (
    "whsec_" + base64.b64encode(bytes([number] * 24)).decode() for number in (1, 2)
)
NOW = 1_700_000_000.0
BODY = b'{"type":"user_left"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def make_sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(url: str, **options: Any) -> Sender:
        scheme = StandardWebhooks([OLD, NEW])
        sender = Sender(url, scheme, time_of_day=lambda: NOW, **options)
        made.append(sender)
        return sender

    yield make
    for sender in made:
        sender.close()


MakeSender = Callable[..., Sender]


def test_a_delivery_is_signed_with_each_secret(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    """A receiver with either one accepts it, and one with another does not."""
    assert make_sender(receiver.url).send("id-1", BODY) is None
    ((path, headers, body),) = receiver.received
    assert (path, body) == ("/hooks?of=presence", BODY)
    assert headers["content-type"] == "application/json"
    for secret in (OLD, NEW):
        signed = StandardWebhooks(secret).verify(headers, body, now=NOW)
        assert signed.id == "id-1"
        # The standard's own package verifies with the clock of the machine only.
        time = datetime.fromtimestamp(NOW, UTC)
        text = Webhook(secret).sign("id-1", time, BODY.decode())
        assert text in headers["webhook-signature"].split()


def test_one_connection_serves_many_deliveries(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    """Also after it was closed by a receiver to which it was idle."""
    sender = make_sender(receiver.url)
    assert [sender.send(str(number), BODY) for number in range(3)] == [None] * 3
    assert receiver.connections == 1

    def close(handler: Any) -> None:
        reply(handler, 204)
        # Without a word to the sender.
        handler.close_connection = True

    receiver.answer = close
    assert [sender.send(str(number), BODY) for number in range(3)] == [None] * 3
    assert receiver.connections == 3


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_any_other_status_is_a_failure(
    receiver: Receiver, make_sender: MakeSender, status: int
) -> None:
    """The text names it."""
    receiver.answer = lambda handler: reply(handler, status)
    assert make_sender(receiver.url).send("1", BODY) == f"it answered {status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    receiver: Receiver, make_sender: MakeSender, status: int
) -> None:
    """A signed delivery goes to no host that the app has not named."""
    with Receiver() as other:
        receiver.answer = lambda handler: reply(handler, status, Location=other.url)
        problem = make_sender(receiver.url).send("1", BODY)
        assert other.received == []
    assert problem == f"it answered {status}, and redirects are not followed"


def test_a_receiver_that_is_away_is_a_failure(make_sender: MakeSender) -> None:
    """And so is a host that nobody knows."""
    sender = make_sender(f"http://{HOST}:{free_port()}/")
    assert "ConnectionRefusedError" in str(sender.send("1", BODY))
    sender = make_sender("http://app.invalid/")
    assert "gaierror" in str(sender.send("1", BODY))


def test_a_receiver_that_says_nothing_has_a_deadline(make_sender: MakeSender) -> None:
    """It has accepted the connection only."""
    with socket.create_server((HOST, 0)) as listener:
        sender = make_sender(
            f"http://{HOST}:{listener.getsockname()[1]}/", silence=0.05
        )
        assert sender.send("1", BODY) == "no answer in time"


def test_a_receiver_that_never_ends_has_a_deadline(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    """It sends a byte of a header now and then, each in time."""
    gone = threading.Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with closing(handler.connection):
            while not gone.wait(0.01):
                handler.wfile.write(b"x")

    receiver.answer = drip
    sender = make_sender(receiver.url, most_seconds=0.1)
    problem = sender.send("1", BODY)
    gone.set()
    assert problem is not None


def test_a_huge_answer_is_not_read(receiver: Receiver, make_sender: MakeSender) -> None:
    """Its status counts, and the connection is not used again."""

    def tell(handler: Any) -> None:
        reply(handler, 200, Content_Length="1000000")
        handler.wfile.write(b"x" * 1_000_000)

    receiver.answer = tell
    sender = make_sender(receiver.url)
    assert [sender.send("1", BODY), sender.send("2", BODY)] == [None, None]
    assert receiver.connections == 2


def test_an_answer_that_is_no_http_is_a_failure(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    """Such as the greeting of a mail server."""
    receiver.answer = lambda handler: handler.wfile.write(b"220 ESMTP\r\n\r\n")
    assert "BadStatusLine" in str(make_sender(receiver.url).send("1", BODY))


def test_the_certificate_of_a_receiver_is_checked(
    make_sender: MakeSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's is refused. One that the machine trusts is accepted."""
    make_certificate(tmp_path)
    with Receiver(tmp_path) as receiver:
        problem = make_sender(receiver.url).send("1", BODY)
        assert "certificate verify failed" in str(problem)
        assert receiver.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        sender = make_sender(receiver.url)
        assert [sender.send("1", BODY), sender.send("2", BODY)] == [None, None]
        assert receiver.connections == 1


def test_a_tls_receiver_that_never_ends_has_a_deadline(
    make_sender: MakeSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut below the encryption."""
    make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    gone = threading.Event()
    with Receiver(tmp_path) as receiver:
        receiver.answer = lambda _: gone.wait()
        problem = make_sender(receiver.url, most_seconds=0.1).send("1", BODY)
        gone.set()
    assert problem is not None


def test_a_receiver_without_tls_is_none_for_https(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    """Nothing is sent in the clear."""
    url = receiver.url.replace("http:", "https:")
    assert "SSLError" in str(make_sender(url).send("1", BODY))
    assert receiver.received == []
