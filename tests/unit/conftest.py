"""Settings of the unit tests."""

import pytest
from hypothesis import HealthCheck, settings

from flask_sse_hub.answers import body, producer
from flask_sse_hub.answers.lasting import own_run, runner, task
from flask_sse_hub.database import uncommitted
from flask_sse_hub.events import compose
from flask_sse_hub.runtime.rare_log import RareLog

# A timing is no promise: a busy machine takes longer over an example. Where CI is set,
# Hypothesis has the same settings by itself.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process says each cause once a minute, and all tests run in one process."""
    for module in (body, compose, own_run, producer, runner, task, uncommitted):
        monkeypatch.setattr(module, "_rare_log", RareLog(module.log))
