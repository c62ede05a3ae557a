"""A short storm over each broker; ``make chaos`` runs long ones, with each delivery."""

import pytest

from tests.chaos.storm import Plan, run

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("broker", "takeover"),
    [("sqlite", "auto"), ("redis", False)],
    ids=["sqlite-socket", "redis-generator"],
)
def test_a_storm_loses_and_doubles_nothing(broker: str, takeover: str | bool) -> None:
    """Each client receives exactly its part of the log, through all faults."""
    outcome = run(
        Plan(broker=broker, seconds=10.0, clients=80, seed=1, takeover=takeover)
    )
    assert outcome.faults == []
    for happened in ("deliveries", "kills", "reloads", "cuts", "forks", "resumes"):
        assert outcome.counts[happened] > 0, outcome.counts
