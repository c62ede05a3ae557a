"""The configuration: read once, checked in one place, and documented there."""

import sys
from dataclasses import fields
from typing import Any

import pytest

from flask_sse_hub import ConfigurationError
from flask_sse_hub.web.config import Config


def test_every_key_has_a_default_and_is_documented() -> None:
    """An app works without settings, and the reference is generated from the code."""
    config = Config.read({})
    for part in fields(config):
        assert part.metadata["doc"].endswith("."), part.name
        assert getattr(config, part.name) == part.default, part.name
        part.metadata["check"](part.default)


def test_settings_reach_the_hub() -> None:
    """Each setting has one name, and units are seconds and bytes throughout."""
    config = Config.read(
        {
            "SSE_HUB_HEARTBEAT_INTERVAL": 5,
            "SSE_HUB_RETRY": [1, 2],
            "SSE_HUB_ON_USER_LIMIT": "refuse",
            "SSE_HUB_MAX_CLIENTS_PER_USER": None,
            "SSE_HUB_HISTORY_EVENTS": 7,
            "OTHER": object(),
        }
    )
    assert config.hub.heartbeat_interval == 5.0
    assert config.hub.retry == (1.0, 2.0)
    assert config.hub.max_clients_per_user is None
    assert not config.hub.evict_oldest
    assert config.retention.events == config.hub.memory.events == 7
    assert config.hub.memory.bytes == config.memory_history_bytes


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("HEARTBEAT_INTERVAL", "30", "a number of seconds"),
        ("HEARTBEAT_INTERVAL", True, "a number of seconds"),
        ("HEARTBEAT_INTERVAL", 0, "above 0"),
        ("CONNECTION_TIMEOUT", float("nan"), "above 0 and at most"),
        ("MAX_AGE", -1, "above 0"),
        ("RETRY", 2.0, "two numbers"),
        ("RETRY", (1, 2, 3), "two numbers"),
        ("RETRY", (5, 2), "must not be above"),
        ("RETRY", (2000, 5000), "milliseconds must be divided by 1000"),
        ("HISTORY_EVENTS", 1.5, "whole number"),
        ("HISTORY_EVENTS", True, "whole number"),
        ("MAX_CLIENTS", 0, "at least 1"),
        ("MAX_EVENT_BYTES", 16_777_217, "an address to load it from"),
        ("MAX_CLIENTS_PER_USER", 0, "at least 1"),
        ("LOGIN_REQUIRED", "yes", "True or False"),
        ("PUBLIC_CHANNELS", 7, "a list of strings"),
        ("PUBLIC_CHANNELS", ["a", ""], "not empty"),
        ("PUBLIC_CHANNELS", [1], "must be a string"),
        ("TTL", 5, "a dict of channel patterns"),
        ("TTL", {"": 5}, "not empty"),
        ("TTL", {7: 5}, "must be a string"),
        ("TTL", {"typing.*": "5"}, "the ttl of 'typing.*' must be a number of seconds"),
        ("TTL", {"typing.*": 10**7}, "between 0 and 604800 seconds"),
        ("HISTORY", 5, "a dict of channel patterns"),
        ("HISTORY", {"chat.*": 5}, "the history of 'chat.*' must be a dict"),
        ("HISTORY", {"chat.*": {}}, "must be a dict with"),
        ("HISTORY", {"chat.*": {"event": 5}}, "must be a dict with"),
        ("HISTORY", {"chat.*": {"events": 0}}, "a whole number from 1 on"),
        ("HISTORY", {"chat.*": {"seconds": 0}}, "above 0"),
        ("HISTORY", {"chat.*": {"events": 10**9}}, "bounds all channels together"),
        ("URL_PREFIX", "events", "begins with /"),
        ("URL_PREFIX", "/events/", "does not end"),
        ("URL_PREFIX", "/", "begins with /"),
        ("HOST", "https://app.example", "without a scheme"),
        ("HOST", "app.example/", "without a scheme"),
        ("HOST", "app.example:443", "without the usual port"),
        ("HOST", "<tenant>.example", "variable part"),
        ("HOST", "", "a host such as"),
        ("HOST", 8000, "a host such as"),
        ("SUBDOMAIN", "www.", "a subdomain such as www"),
        ("SUBDOMAIN", "<tenant>", "variable part"),
        ("SUBDOMAIN", True, "a subdomain such as www"),
        ("ON_USER_LIMIT", "newest", "'evict_oldest' or 'refuse'"),
        ("BROKER_URL", "", "not empty"),
        ("BROKER_URL", "kafka://x", "memory://"),
        ("BROKER_URL", "redis://host:port/0", "port"),
        ("BROKER_URL", "redis+sentinel://host:26379", "name of the service"),
        ("HISTORY_SECONDS", 1e13, "at most"),
        ("HISTORY_EVENTS", 10**20, "at most"),
        ("BROKER_URL", "redis+sentinel://host/main?ssl_ca_certs=x", "no options"),
        ("NAME", "", "1 to 100 characters"),
        ("NAME", "a b", "1 to 100 characters"),
        ("NAME", ["a"], "1 to 100 characters"),
        ("NAME", True, "1 to 100 characters"),
        ("BROKER_URL", "sqlite:////", "an/absolute/path"),
        ("BROKER_URL", "redis://host/0?bogus=1", "bogus"),
        ("CORS_ORIGINS", ["*"], "name each origin"),
        ("CORS_ORIGINS", ["app.example"], "not an origin as browsers send it"),
        ("CORS_ORIGINS", ["https://app.example/"], "and no path"),
        ("CORS_ORIGINS", ["https://app.example:443"], "unless it is the usual one"),
        ("CORS_ORIGINS", ["https://App.example"], "lower case"),
        ("CORS_ORIGINS", ["null"], "not an origin"),
        ("CORS_ORIGINS", 7, "a list of strings"),
        ("CONNECT_RATE", "often", "couldn't parse"),
        ("CONNECT_RATE", 10, "a string"),
        ("REVALIDATE_INTERVAL", 0, "above 0"),
        ("STATS_ACCESS", "short", "at least 16"),
        ("STATS_ACCESS", 7, "a callable or a token"),
        ("PRESENCE_HOOKS", ["app.example/hooks"], "scheme http or https"),
        ("PRESENCE_HOOKS", ["ftp://app.example/"], "scheme http or https"),
        ("PRESENCE_HOOKS", ["https://me:pw@app.example/"], "without a user"),
        ("PRESENCE_HOOKS", ["https://app.example/#top"], "a fragment"),
        ("PRESENCE_HOOKS", ["https://app.example/a\r\nb"], "or spaces"),
        ("PRESENCE_HOOKS", ["https://app.example/"], "needs .*PRESENCE_HOOK_SECRETS"),
        ("PRESENCE_HOOK_SECRETS", "whsec_!!", "not base64"),
        ("PRESENCE_HOOK_SECRETS", "", "missing or empty"),
        ("PRESENCE_HOOK_SECRETS", [], "missing or empty"),
        ("PRESENCE_HOOK_SECRETS", [b"x" * 32], "a list of strings"),
        ("PRESENCE_HOOK_SECRETS", ["whsec_c2hvcnQ="], "base64.b64encode"),
        ("MEMORY_HISTORY_BYTES", 1_000_000, "two of the largest events"),
        ("HISTORY_BYTES", 1_000_000, "two of the largest events"),
    ],
)
def test_an_invalid_setting_is_refused(key: str, value: Any, remedy: str) -> None:
    """The error at start names the key, the value and a value that would work."""
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        Config.read({f"SSE_HUB_{key}": value})
    assert f"SSE_HUB_{key}" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("STATS_ACCESS", "s3cret"),
        ("PRESENCE_HOOK_SECRETS", ["whsec_s3cret"]),
        ("BROKER_URL", "reddis://:s3cret@host"),
        ("BROKER_URL", "redis://:s3cret@host:port/0"),
        ("BROKER_URL", "redis://:s3cret\u2100@host/0"),
        ("BROKER_URL", "redis://:[s3cret]@host/0"),
        ("BROKER_URL", "redis://:[s3cret@host/0"),
        ("BROKER_URL", "redis+sentinel://:[s3cret]@host/main"),
    ],
)
def test_a_secret_is_not_shown_in_the_error(key: str, value: str) -> None:
    """Error messages end up in logs."""
    with pytest.raises(ConfigurationError) as caught:
        Config.read({f"SSE_HUB_{key}": value})
    assert "s3cret" not in str(caught.value)


def test_a_printed_configuration_shows_no_secret() -> None:
    """Error trackers show the variables of each frame."""
    settings = {
        "SSE_HUB_NAME": "shop",
        "SSE_HUB_STATS_ACCESS": "s3cret" * 3,
        "SSE_HUB_PUBLISH_TOKENS": ["s3cret" * 3],
        "SSE_HUB_PRESENCE_HOOK_SECRETS": ["s3cret" * 6],
    }
    urls = [
        "redis://user:s3cret@host:7/0",
        "rediss://:a@s3cret@host:7/0",
        "redis://host:7/0?password=s3cret",
        "redis+sentinel://user:s3cret@host:7,other:7/main",
    ]
    for url in urls:
        shown = repr(Config.read(settings | {"SSE_HUB_BROKER_URL": url}))
        assert "s3cret" not in shown
        assert "host:7" in shown
        assert "stats_access='***'" in shown


def test_hooks_need_channels_with_presence() -> None:
    """Without any they would never be told of anything."""
    settings = {
        "SSE_HUB_PRESENCE_HOOKS": ["https://app.example/hooks", "http://[::1]:8000"],
        "SSE_HUB_PRESENCE_HOOK_SECRETS": "whsec_" + "abcd" * 8,
    }
    with pytest.raises(ConfigurationError, match="SSE_HUB_PRESENCE"):
        Config.read(settings)
    config = Config.read(settings | {"SSE_HUB_PRESENCE": ["room.*"]})
    assert config.presence_hooks == tuple(settings["SSE_HUB_PRESENCE_HOOKS"])


def test_a_redis_needs_a_name() -> None:
    """Several apps may share a Redis, and more than one may be called "app"."""
    settings = {"SSE_HUB_BROKER_URL": "redis://localhost/0"}
    with pytest.raises(ConfigurationError, match="SSE_HUB_NAME must be set"):
        Config.read(settings)
    assert Config.read(settings | {"SSE_HUB_NAME": "shop"}).name == "shop"
    assert Config.read(settings | {"SSE_HUB_NAME": "a.b_c:d-7"}).name == "a.b_c:d-7"


def test_a_missing_redis_package_is_reported_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the package to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "flask_sse_hub.brokers.redis.url", raising=False)
    with pytest.raises(ConfigurationError, match=r"flask-sse-hub\[redis\]"):
        Config.read({"SSE_HUB_BROKER_URL": "redis://localhost", "SSE_HUB_NAME": "x"})


def test_a_rate_limit_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package to install."""
    monkeypatch.setitem(sys.modules, "limits", None)
    with pytest.raises(ConfigurationError, match=r"flask-sse-hub\[limits\]"):
        Config.read({"SSE_HUB_CONNECT_RATE": "10/second"})


def test_an_unknown_key_is_logged_as_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A misspelt setting would otherwise have no effect, silently."""
    Config.read({"SSE_HUB_HEARTBEAT": 5, "SSE_HUB_ZZZ": 1})
    assert "did you mean SSE_HUB_HEARTBEAT_INTERVAL?" in caplog.text
    assert "SSE_HUB_ZZZ is unknown [SSE-1001]\n" in caplog.text


@pytest.mark.parametrize(
    ("channel", "public"),
    [("news", True), ("sport.tennis", True), ("News", False), ("newsroom", False)],
)
def test_public_channels_are_glob_patterns(channel: str, public: bool) -> None:
    """Patterns match whole names, and case matters."""
    config = Config.read({"SSE_HUB_PUBLIC_CHANNELS": ["news", "sport.*"]})
    assert config.is_public(channel) is public


@pytest.mark.parametrize(
    "key",
    [
        *("PUBLIC_CHANNELS", "CORS_ORIGINS", "PUBLISH_TOKENS", "METRICS_CHANNELS"),
        *("PRESENCE", "PRESENCE_HOOKS"),
    ],
)
@pytest.mark.parametrize("value", ["https://a.example", "one,two", ""])
def test_a_text_is_no_list(key: str, value: str) -> None:
    """An environment variable gives a text, which may be meant as several entries."""
    with pytest.raises(ConfigurationError, match=r"not a str\. In the environment"):
        Config.read({f"SSE_HUB_{key}": value})


def test_every_list_is_tested_above() -> None:
    """A list that is added later must refuse a text too."""
    lists = {part.name for part in fields(Config) if part.default == ()}
    assert lists == {
        *("public_channels", "cors_origins", "publish_tokens", "metrics_channels"),
        *("presence", "presence_hooks"),
    }
