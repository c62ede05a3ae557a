"""Tickets and client ids: no request gives a user the identity of another."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from flask import request
from hypothesis import strategies as st
from itsdangerous import TimestampSigner, URLSafeSerializer

from flask_sse_hub.auth.tickets import Ticket
from flask_sse_hub.hub.clients.client import Identity
from tests.conftest import Browser, Site
from tests.fuzz.edits import Edit, edited, edits
from tests.fuzz.engine import Check, Target
from tests.fuzz.strategies import mostly

_LATER, _LONG_AGO = 32_503_680_000.0, 1.0


class Sent(NamedTuple):
    """The content of one signed value, the signature of one, and changes to both."""

    content: int
    signature: int
    changes: list[Edit]

    def of(self, genuine: list[str]) -> bytes:
        content = genuine[self.content % len(genuine)].rpartition(".")[0]
        signature = genuine[self.signature % len(genuine)].rpartition(".")[2]
        return edited(f"{content}.{signature}".encode(), self.changes)


def _opened(browser: Browser, query: str) -> dict[str, Any] | None:
    """Return the greeting of a URL's stream, or None if the stream is refused."""
    response = browser.get(f"/events?{query}")
    try:
        assert response.status_code in (200, 400, 401), response.status_code
        if response.status_code != 200:
            return None
        block = next(iter(response.response))
        greeting: dict[str, Any] = json.loads(block.partition(b"data: ")[2])
        return greeting
    finally:
        response.close()


@contextmanager
def _site() -> Iterator[Site]:
    site = Site()
    try:
        yield site
    finally:
        site.close()


@contextmanager
def _prepare_tickets() -> Iterator[Check]:
    """Sign tickets for several users; no other key can sign them."""
    with _site() as site:
        with site.app.app_context():
            good = {
                Ticket(Identity(user), channels, _LATER).sign(): (user, list(channels))
                for user, channels in [
                    ("alice", ("orders",)),
                    ("alice", ()),
                    ("bob", ("builds", "orders")),
                    ("7", ("orders",)),
                ]
            }
            late = Ticket(Identity("alice"), ("orders",), _LONG_AGO).sign()
        genuine = [*good, late, *_forged_tickets(str(site.app.secret_key))]
        stranger = site.browser()

        def check(sent: Sent | bytes) -> str:
            """Open a stream with a ticket and no other credential."""
            raw = sent if isinstance(sent, bytes) else sent.of(genuine)
            opened = _opened(stranger, f"ticket={quote(raw)}")
            if opened is None:
                return "refused"
            text = raw.decode(errors="replace")
            (who,) = (good[each] for each in good if _is_the_same(text, each))
            assert (opened["user_id"], opened["channels"]) == who
            return "admitted"

        yield check


def _is_the_same(ticket: str, genuine: str) -> bool:
    """Return whether a ticket is a genuine one, apart from characters outside base64.

    The last letter of a signature has two unused bits.
    """
    content, _, signature = ticket.rpartition(".")
    letters = re.sub("[^A-Za-z0-9_-]", "", signature)
    return genuine.startswith(f"{content}.{letters[:26]}") and len(letters) >= 26


def _forged_tickets(key: str) -> Iterator[str]:
    """Yield tickets for alice with a wrong key or for another purpose."""
    content = ["alice", None, ["orders"], _LATER]
    for salt in ("flask-sse-hub.client-id", "cookie-session", "itsdangerous"):
        yield URLSafeSerializer(key, salt=salt).dumps(content)
    for another in (key[:-1], key + " ", "secret"):
        yield URLSafeSerializer(another, salt="flask-sse-hub.ticket").dumps(content)


@contextmanager
def _prepare_client_ids() -> Iterator[Check]:
    """Give client ids to several users; alice sends her own and those of others."""
    with _site() as site:

        @site.app.post("/owns")
        def owns() -> dict[str, bool]:
            return {"owns": site.hub.owns_client(request.get_json())}

        alice, hers, bob = (site.browser(user) for user in ("alice", "alice", "bob"))
        own = [alice.page()["client"] for _ in range(2)]
        others = [each.page()["client"] for each in (hers, bob, site.browser())]
        key = str(site.app.secret_key)
        value = own[0].rpartition(".")[0].rpartition(".")[0]
        forged = [
            TimestampSigner(key, salt="flask-sse-hub.ticket").sign(value).decode(),
            TimestampSigner("secret", salt="flask-sse-hub.client-id")
            .sign(value)
            .decode(),
        ]

        def check(sent: Sent | bytes) -> str:
            """Ask a view whether a client id is alice's, and open a stream with it."""
            raw = sent if isinstance(sent, bytes) else sent.of([*own, *others, *forged])
            text = raw.decode(errors="surrogateescape")
            answer = alice.client.post("/owns", json=text)
            assert answer.json == {"owns": text in own}
            opened = _opened(alice, f"client_id={quote(raw)}")
            if opened is None:
                return "refused"
            assert opened["user_id"] == "alice"
            if text in own:
                assert opened["client_id"] == text
                return "taken over"
            assert opened["client_id"] not in {text, *own, *others}
            return "replaced"

        yield check


def _target(name: str, prepare: Callable[[], Any]) -> Target:
    swapped = st.builds(Sent, st.integers(0, 99), st.integers(0, 99), edits)
    changed = st.integers(0, 99).flatmap(
        lambda one: st.builds(Sent, st.just(one), st.just(one), edits)
    )
    anything = st.binary() | st.text(st.characters(codec="utf-8")).map(str.encode)
    return Target(name, mostly(changed, swapped) | mostly(swapped, anything), prepare)


TICKETS = _target("tickets", _prepare_tickets)
CLIENT_IDS = _target("client ids", _prepare_client_ids)
