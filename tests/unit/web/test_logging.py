"""Logs and error texts show nothing raw, nothing secret and nothing long."""

import logging
import re

import pytest
from flask import Flask

from flask_sse_hub import ConfigurationError, Publisher, SSEHub
from tests.conftest import MakeSite
from tests.kit.reader import wait_until

CONTROL = "\x1b[2J\x07\x9b\u2028"
SECRET = "hunter2"
# Defined here and not where it is published: a traceback shows that line.
PAYLOAD = "the payload"

#: URLs with a password that are invalid, each for another reason.
URLS = [
    f"redis://:{SECRET}@host:port/0",
    f"redis://:{SECRET}/@host:6379/0",
    f"redis://:{SECRET}#@host:6379/0",
    f"redis://:{SECRET}@[host/0",
    f"redis://:{SECRET}@host:6379/0?unknown=1",
    f"redis+sentinel://:{SECRET}@host:1,host:two/service/0",
    f"redis+sentinel://:a/{SECRET}@host:1/service/0",
    f"redis+sentinel://:a/b/{SECRET}@host:1/service/0",
    f"redis+sentinel://:{SECRET}@host:1/",
    f"rediz://:{SECRET}@host",
]


@pytest.mark.parametrize("url", URLS)
def test_an_error_does_not_repeat_a_password(url: str) -> None:
    """A password with a slash in it would be parsed as a port or a path."""
    app = Flask("app")
    app.config.update(SSE_HUB_BROKER_URL=url, SSE_HUB_NAME="app")
    with pytest.raises(ConfigurationError) as refused:
        SSEHub(app)
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        Publisher(url, name="app")
    assert SECRET not in str(refused.value)


def test_an_unreachable_redis_does_not_reveal_its_password(
    caplog: pytest.LogCaptureFixture, make_site: MakeSite
) -> None:
    """The log, the health answer and the error page all leave the password out."""
    site = make_site(broker_url=f"redis://:{SECRET}@127.0.0.1:1/0", name="app")
    site.app.testing = False
    site.app.add_url_rule("/publish", view_func=lambda: site.hub.publish(PAYLOAD))
    with caplog.at_level(logging.DEBUG):
        browser = site.browser("alice")
        reader = browser.stream()
        reader.next("connected")
        answers = [browser.get("/events/health"), browser.get("/publish")]
    assert [answer.status_code for answer in answers] == [503, 500]
    assert "Connection refused" in caplog.text
    for text in [caplog.text, *(answer.text for answer in answers)]:
        assert SECRET not in text
        assert PAYLOAD not in text


def test_the_log_quotes_names_and_omits_payloads(
    caplog: pytest.LogCaptureFixture, make_site: MakeSite
) -> None:
    """Quoted names can neither forge a log line nor move the terminal's cursor."""
    site = make_site(public_channels=["*"])
    site.hub.describe_client(lambda: {"device": f"the metadata {CONTROL}"})
    with caplog.at_level(logging.DEBUG, "flask_sse_hub"):
        browser = site.browser(f"mallory{CONTROL}")
        reader = browser.stream(
            "/events",
            query_string={"channel": f"channel{CONTROL}"},
            headers={"Last-Event-ID": "e-1\x1b[2J"},
        )
        reader.next("connected")
        with site.app.app_context():
            site.hub.publish(PAYLOAD, channel=f"channel{CONTROL}", type=CONTROL)
        reader.next(CONTROL)
        browser.logout()
        reader.wait_for_end()
        wait_until(lambda: "stream of" in caplog.text)
    assert "mallory" in caplog.text
    for message in caplog.messages:
        assert message.isprintable(), message
        assert not re.search("the payload|the metadata|a key for tests", message)


def test_an_error_is_no_page_and_cuts_the_names_that_were_sent(
    make_site: MakeSite,
) -> None:
    """No browser runs a script from the name, and a long name is not repeated."""
    site = make_site(public_channels=["*"])
    name = "<script>\n" + "x" * 240
    answer = site.browser("alice").get("/events", query_string={"channel": name})
    assert answer.status_code == 400
    assert answer.mimetype == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "x" * 50 not in answer.text
