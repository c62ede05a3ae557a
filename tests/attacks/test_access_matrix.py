"""Access to every target with every credential: each case is stated and tried."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from flask import Flask
from itsdangerous.timed import TimestampSigner

from flask_sse_hub.auth.client_ids import mint_client_id
from flask_sse_hub.auth.tickets import Ticket
from flask_sse_hub.hub.clients.client import Identity
from tests.kit.reader import EndOfStream, StreamReader
from tests.live.server import DELIVERIES, Server
from tests.live.site import SECRET_KEY

pytestmark = pytest.mark.live

#: Targets of an event: a public channel, a channel that the access rule opens to alice
#: and the admin, alice herself, her session, and her client.
TARGETS = ["public", "private", "user", "session", "client"]

#: The answer to each visitor with each credential: an error status, or a stream that
#: receives the event ("hears") or does not ("silent").
MATRIX = """
who        | in hand           | public | private | user  | session | client
anonymous  | nothing           | 401    | 401     | 401   | 401     | 401
anonymous  | forged cookie     | 401    | 401     | 401   | 401     | 401
anonymous  | forged bearer     | 401    | 401     | 401   | 401     | 401
anonymous  | forged ticket     | 401    | 401     | 401   | 401     | 401
anonymous  | forged client id  | 401    | 401     | 401   | 401     | 401
alice      | cookie            | hears  | hears   | hears | hears   | hears
alice      | cookie elsewhere  | hears  | hears   | hears | silent  | silent
alice      | bearer            | hears  | hears   | hears | silent  | silent
alice      | own ticket        | hears  | hears   | hears | hears   | hears
alice      | ticket            | hears  | hears   | hears | silent  | silent
alice      | empty ticket      | hears  | 403     | hears | silent  | silent
alice      | forged client id  | 400    | 400     | 400   | 400     | 400
alice      | expired client id | hears  | hears   | hears | hears   | silent
alice      | expired cookie    | 401    | 401     | 401   | 401     | 401
alice      | expired ticket    | 401    | 401     | 401   | 401     | 401
alice      | ended cookie      | silent | silent  | silent| silent  | silent
alice      | ended ticket      | 401    | 401     | 401   | 401     | 401
bob        | cookie            | hears  | 403     | silent| silent  | silent
bob        | bearer            | hears  | 403     | silent| silent  | silent
bob        | own ticket        | hears  | 403     | silent| silent  | silent
bob        | expired ticket    | 401    | 401     | 401   | 401     | 401
admin      | cookie            | hears  | hears   | silent| silent  | silent
admin      | bearer            | hears  | hears   | silent| silent  | silent
admin      | ticket            | hears  | hears   | silent| silent  | silent
"""

CHANNELS = {"public": "news", "private": "alice+carol"}

LONG_AGO = time.time() - 40 * 24 * 3600

_CELLS = [
    (who, in_hand, target, expected)
    for line in MATRIX.strip().splitlines()[1:]
    for who, in_hand, *row in [[word.strip() for word in line.split("|")]]
    for target, expected in zip(TARGETS, row, strict=True)
]


@pytest.fixture(scope="module", params=DELIVERIES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, args="--workers 2", max_clients_per_user=None) as server:
        yield server


@pytest.fixture(scope="module")
def alice(server: Server) -> dict[str, str]:
    """Alice's page: its cookie, session id and client id."""
    cookie = server.cookie("alice")
    return {"cookie": cookie, **server.json("/page", Cookie=cookie)}


class Hand:
    """A visitor's credentials: headers, and a query for the stream's URL."""

    def __init__(self, server: Server, who: str, alice: dict[str, str]) -> None:
        self._server = server
        self._who = who
        self._alice = alice
        self.headers: dict[str, str] = {}
        self.query: dict[str, str] = {"client_id": alice["client"]}

    def take(self, what: str) -> None:
        method: Callable[[], None] = getattr(self, "_" + what.replace(" ", "_"))
        method()

    def _nothing(self) -> None:
        return

    def _cookie(self) -> None:
        alices = self._who == "alice"
        self.headers["Cookie"] = (
            self._alice["cookie"] if alices else self._server.cookie(self._who)
        )

    def _cookie_elsewhere(self) -> None:
        self.headers["Cookie"] = self._server.cookie(self._who)

    def _bearer(self) -> None:
        self.headers["Authorization"] = f"Bearer {self._who}"

    def _own_ticket(self) -> None:
        self._cookie()
        # Bob's own view would not issue a ticket for another user's channel.
        channels = [CHANNELS["private"]] if self._who != "bob" else []
        self.query["ticket"] = self._ticket_of(self.headers.pop("Cookie"), channels)

    def _ticket(self) -> None:
        with signing():
            self.query["ticket"] = Ticket.lasting(
                60,
                now=time.time(),
                identity=Identity(self._who),
                channels=[CHANNELS["private"]],
            ).sign()

    def _empty_ticket(self) -> None:
        with signing():
            identity = Identity(self._who)
            self.query["ticket"] = Ticket.lasting(
                60, now=time.time(), identity=identity, channels=[]
            ).sign()

    def _expired_ticket(self) -> None:
        with signing():
            expired = Ticket(Identity(self._who), (CHANNELS["private"],), LONG_AGO)
            self.query["ticket"] = expired.sign()

    def _ended_ticket(self) -> None:
        cookie = self._server.cookie(self._who)
        self.query["ticket"] = self._ticket_of(cookie, [CHANNELS["private"]])
        self._end(cookie)

    def _ended_cookie(self) -> None:
        self._cookie_elsewhere()
        self._end(self.headers["Cookie"])

    def _expired_cookie(self) -> None:
        app = Flask(__name__)
        app.secret_key = SECRET_KEY
        serializer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
        with long_ago():
            value = serializer.dumps({"_user_id": self._who, "_fresh": True})
        self.headers["Cookie"] = f"session={value}"

    def _expired_client_id(self) -> None:
        self._cookie()
        with signing(), long_ago():
            identity = Identity("alice", self._alice["session"])
            self.query["client_id"] = mint_client_id(identity)

    def _forged_client_id(self) -> None:
        if self._who != "anonymous":
            self._cookie()
        self.query["client_id"] = self._alice["client"][:-1] + "~"

    def _forged_cookie(self) -> None:
        self.headers["Cookie"] = self._alice["cookie"][:-3] + "xyz"

    def _forged_bearer(self) -> None:
        self.headers["Authorization"] = "Bearer mallory"

    def _forged_ticket(self) -> None:
        with signing("another key"):
            self.query["ticket"] = Ticket.lasting(
                60,
                now=time.time(),
                identity=Identity("alice"),
                channels=[CHANNELS["private"]],
            ).sign()

    def _ticket_of(self, cookie: str, channels: list[str]) -> str:
        status, body, _ = self._server.request(
            "POST", "/ticket", body={"channels": channels}, Cookie=cookie
        )
        assert status == 200
        return body.decode()

    def _end(self, cookie: str) -> None:
        """Log out, and wait until every worker knows of the logout."""
        with self._server.stream(user=None, Cookie=cookie) as stream:
            stream.next("connected")
            for worker in self._server.workers():
                with self._server.only(worker):
                    self._server.request("POST", "/logout", Cookie=cookie)
            stream.wait_for_end()


def signing(key: str = SECRET_KEY) -> Any:
    """Sign as the server does, or with another key."""
    app = Flask(__name__)
    app.secret_key = key
    return app.app_context()


def long_ago() -> Any:
    """Sign as if it were more than a month ago."""
    return patch.object(TimestampSigner, "get_timestamp", lambda _: int(LONG_AGO))


@pytest.mark.parametrize(("who", "in_hand", "target", "expected"), _CELLS)
def test_each_visitor_receives_the_events_of_the_matrix(
    server: Server,
    alice: dict[str, str],
    who: str,
    in_hand: str,
    target: str,
    expected: str,
) -> None:
    """The matrix holds for each way of delivery."""
    hand = Hand(server, who, alice)
    hand.take(in_hand)
    if target in CHANNELS:
        hand.query["channel"] = CHANNELS[target]
    assert outcome(server, hand, target, alice) == expected


def outcome(server: Server, hand: Hand, target: str, alice: dict[str, str]) -> str:
    """Open a stream and publish to the target; return the cell of the matrix."""
    where = {
        "public": {"channel": CHANNELS["public"]},
        "private": {"channel": CHANNELS["private"]},
        "user": {"user": "alice"},
        "session": {"session": alice["session"]},
        "client": {"client": alice["client"]},
    }[target]
    answer = server.open("/events", query=hand.query, **hand.headers)
    if isinstance(answer, int):
        return str(answer)
    with answer as stream:
        try:
            stream.next("connected")
            heard = first_of(stream, server, where, {})
        except EndOfStream:
            return "silent"
        return "hears" if heard == where else "silent"


def first_of(
    stream: StreamReader, server: Server, *targets: dict[str, str]
) -> dict[str, str]:
    """Publish an event for each target; return the target of the first to arrive.

    A stream begins at its worker's position. A lagging worker may still bring events
    of an earlier test, so each call marks its own events with a random token.
    """
    mine = secrets.token_hex(4)
    for number, target in enumerate(targets):
        server.publish([mine, number], **target)
    while True:
        whose, first = json.loads(stream.data(1)[0])
        if whose == mine:
            return targets[int(first)]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (target, name)
        for target in ("user", "session", "client")
        for name in (f"{target[0]}:{{}}", "i:{}", f"{target}:{{}}", "{}")
    ],
)
def test_no_channel_name_leads_to_an_address(
    server: Server, alice: dict[str, str], target: str, name: str
) -> None:
    """Even the admin, who may open every channel, receives no other target's event."""
    addressed = {"user": "alice"} | alice
    channel = name.format(addressed[target])
    answer = server.open(
        "/events", query={"channel": channel}, Authorization="Bearer admin"
    )
    assert not isinstance(answer, int)
    with answer as stream:
        stream.next("connected")
        owner, named = {target: addressed[target]}, {"channel": channel}
        assert first_of(stream, server, owner, named) == named


@pytest.mark.parametrize("name", ["*", "u:*", "*:alice", "u*"])
def test_no_pattern_leads_to_an_address(server: Server, name: str) -> None:
    """A * is refused in a place where it could stand for anything else."""
    query = {"channel": name}
    assert server.open("/events", query=query, Authorization="Bearer admin") == 400
