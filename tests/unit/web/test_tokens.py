"""Tokens for publishing over HTTP: their configuration and their scopes."""

import hashlib
from typing import Any

import pytest

from flask_sse_hub import ConfigurationError
from flask_sse_hub.web.config import Config
from flask_sse_hub.web.tokens import KINDS, PublishToken, find, mint

TOKEN = "a-token-of-some-length"
HASH = "sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()


def read(entries: Any) -> tuple[PublishToken, ...]:
    return Config.read({"SSE_HUB_PUBLISH_TOKENS": entries}).publish_tokens


@pytest.mark.parametrize(
    "entries",
    [[TOKEN], [HASH], ["sha256:" + HASH[7:].upper()], (TOKEN,)],
)
def test_a_token_or_its_hash_may_publish_to_everything(entries: Any) -> None:
    """A token without a scope has no limits."""
    (token,) = read(entries)
    assert find(TOKEN, [token]) is token
    assert all(token.allows(kind) for kind in KINDS)
    assert token.allows_type("any")
    assert token.allows_channel("any")


@pytest.mark.parametrize("sent", ["", TOKEN + "x", TOKEN[:-1], HASH, "é", "\udcff"])
def test_no_other_text_is_accepted_as_the_token(sent: str) -> None:
    """The hash is refused too, because readers of the configuration know it."""
    assert find(sent, read([TOKEN, mint()[1]])) is None


def test_each_of_many_tokens_is_found() -> None:
    """The position in the list does not matter."""
    made = [mint() for _ in range(5)]
    entries = read([{"token": digest, "name": sent} for sent, digest in made])
    for sent, _ in made:
        found = find(sent, entries)
        assert found is not None
        assert found.name == sent


@pytest.mark.parametrize(
    ("scope", "kinds", "channels"),
    [
        ({}, set(KINDS), {"orders.7", "news"}),
        ({"channels": ["orders.*"]}, {"channel"}, {"orders.7"}),
        ({"channels": ["news", "o*"]}, {"channel"}, {"orders.7", "news"}),
        (
            {"channels": ["orders.*"], "targets": ["user"]},
            {"channel", "user"},
            {"orders.7"},
        ),
        ({"targets": ["user", "everyone"]}, {"user", "everyone"}, set()),
        ({"targets": ["channel"]}, {"channel"}, {"orders.7", "news"}),
    ],
)
def test_a_scope_lists_everything_that_is_allowed(
    scope: dict[str, Any], kinds: set[str], channels: set[str]
) -> None:
    """A token with only channels can neither broadcast nor reach a user."""
    (token,) = read([{"token": TOKEN, **scope}])
    assert {kind for kind in KINDS if token.allows(kind)} == kinds
    known = {"orders.7", "news"}
    assert {name for name in known if token.allows_channel(name)} == channels


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (7, "a list of tokens"),
        (TOKEN, "a list of tokens is needed, not a str. In the environment .* JSON"),
        ([{"token": TOKEN, "channels": "a"}], r"\[0\]\.channels: .* not a str"),
        ([{"token": TOKEN, "targets": "user"}], r"\[0\]\.targets: .* not a str"),
        ([{"token": TOKEN, "types": "a"}], r"\[0\]\.types: .* not a str"),
        ([7], r"\[0\]\.token: at least 16"),
        ([None], r"\[0\]\.token: at least 16"),
        (["too-short"], r"\[0\]\.token: at least 16"),
        ([TOKEN, "=" * 20], r"\[1\]\.token: at least 16"),
        (["has a space in the middle"], r"\[0\]\.token: at least 16"),
        (["sha256:" + "0" * 63], r"\[0\]\.token: at least 16"),
        ([{"channels": ["a"]}], r"\[0\]\.token: at least 16"),
        ([TOKEN, {"token": HASH}], r"\[1\]\.token: this token is in the list twice"),
        (
            [{"token": TOKEN, "channel": "a"}],
            r"\[0\]: it has an unknown key; the keys are token",
        ),
        ([{"token": TOKEN, "channels": []}], r"\[0\]\.channels: the list is empty"),
        ([{"token": TOKEN, "channels": [""]}], r"\[0\]\.channels: each entry"),
        ([{"token": TOKEN, "channels": None}], r"\[0\]\.channels: a list"),
        ([{"token": TOKEN, "types": []}], r"\[0\]\.types: the list is empty"),
        ([{"token": TOKEN, "types": [7]}], r"\[0\]\.types: each entry"),
        ([{"token": TOKEN, "rate": "often"}], r"\[0\]\.rate: couldn't parse"),
        ([{"token": TOKEN, "rate": None}], r"\[0\]\.rate: a text such as"),
        ([{"token": TOKEN, "share": "half"}], r"\[0\]\.share: a number from 0 to 1"),
        ([{"token": TOKEN, "share": True}], r"\[0\]\.share: a number from 0 to 1"),
        ([{"token": TOKEN, "share": 0}], r"\[0\]\.share: 0 is not above 0"),
        ([{"token": TOKEN, "share": 1.1}], r"\[0\]\.share: 1.1 is not above 0 and"),
        ([{"token": TOKEN, "share": float("nan")}], r"\[0\]\.share: nan is not"),
        ([{"token": TOKEN, "targets": []}], r"\[0\]\.targets: a list"),
        ([{"token": TOKEN, "targets": ["all"]}], r"\[0\]\.targets: the kinds are"),
        ([{"token": TOKEN, "targets": [["user"]]}], r"\[0\]\.targets: the kinds are"),
        ([{"token": TOKEN, "name": "a\nb"}], r"\[0\]\.name: a short text"),
    ],
)
def test_an_entry_that_cannot_work_is_refused(entries: Any, said: str) -> None:
    """The error comes at start and names the position and the field."""
    with pytest.raises(ConfigurationError, match=f"SSE_HUB_PUBLISH_TOKENS .*{said}"):
        read(entries)


@pytest.mark.parametrize(
    "entries",
    ["s3cret", ["s3cret"], [{"token": "s3cret"}], {"s3cret": {}}, [["s3cret"]]],
)
def test_an_error_does_not_show_the_token(entries: Any) -> None:
    """Error texts end up in logs."""
    with pytest.raises(ConfigurationError) as caught:
        read(entries)
    assert "s3cret" not in str(caught.value)


def test_a_printed_configuration_does_not_show_the_token() -> None:
    """Its hash is not shown either, because guesses could be tried against it."""
    config = Config.read({"SSE_HUB_PUBLISH_TOKENS": [TOKEN]})
    assert TOKEN not in repr(config)
    assert HASH.removeprefix("sha256:") not in repr(config)
