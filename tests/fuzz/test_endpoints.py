"""A few requests of each endpoint; ``make fuzz`` makes thousands."""

import pytest

from tests.fuzz import endpoints

pytestmark = pytest.mark.live


def test_the_endpoints_answer_as_they_are_described() -> None:
    """Invalid requests too are answered as documented, soon, and never with a 500."""
    outcome = endpoints.run(cases=1_100, seed=1)
    assert outcome.finding is None
    assert outcome.cases >= 1_000
