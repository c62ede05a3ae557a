"""Mistakes: settings that are misspelt, too late, or in milliseconds."""

import pytest
from flask import Flask

from flask_sse_hub import SSEHub, SSEHubError
from tests.conftest import MakeSite

SETTINGS: list[tuple[str, object, str]] = [
    (
        "SSEHUB_MAX_AGE",
        600,
        (
            "the setting SSEHUB_MAX_AGE has no effect, because settings of the hub"
            " begin with SSE_HUB_; did you mean SSE_HUB_MAX_AGE? [SSE-1002]"
        ),
    ),
    (
        "SSE_MAX_AGE",
        600,
        (
            "the setting SSE_MAX_AGE has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_MAX_AGE? [SSE-1002]"
        ),
    ),
    (
        "FLASK_SSE_HUB_NAME",
        "shop",
        (
            "the setting FLASK_SSE_HUB_NAME has no effect, because settings of the hub"
            " begin with SSE_HUB_; did you mean SSE_HUB_NAME? [SSE-1002]"
        ),
    ),
    (
        "sse_hub_name",
        "shop",
        (
            "the setting sse_hub_name has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_NAME? [SSE-1002]"
        ),
    ),
    (
        "SSE_REDIS_URL",
        "redis://:secret@localhost",
        (
            "the setting SSE_REDIS_URL has no effect, because settings of the hub begin"
            " with SSE_HUB_; did you mean SSE_HUB_BROKER_URL? [SSE-1002]"
        ),
    ),
    (
        "SSE_HUB_RETYR",
        (1.0, 2.0),
        "the setting SSE_HUB_RETYR is unknown; did you mean SSE_HUB_RETRY? [SSE-1001]",
    ),
    (
        "SSE_HUB_HEARTBEAT_INTERVAL",
        15000,
        (
            "the setting SSE_HUB_HEARTBEAT_INTERVAL is 15000.0 seconds (seconds, not"
            " milliseconds?) [SSE-1004]"
        ),
    ),
    (
        "SSE_HUB_RETRY",
        (2000, 3000),
        (
            "the setting SSE_HUB_RETRY is (2000.0, 3000.0) seconds (seconds, not"
            " milliseconds?) [SSE-1004]"
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
                " no effect: set it before [SSE-1003]"
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
