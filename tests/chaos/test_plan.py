"""The command line of a storm."""

from tests.chaos.__main__ import plan_of
from tests.chaos.storm import Plan


def test_every_option_is_part_of_the_plan() -> None:
    """A storm with an option runs, and with the value that was given."""
    words = "--broker redis --seconds 2 --clients 3 --seed 4 --generator --scarce"
    assert plan_of(words.split()) == Plan(
        broker="redis", seconds=2.0, clients=3, seed=4, takeover=False, scarce=True
    )


def test_a_storm_takes_sockets_over_by_default() -> None:
    """Without a seed each storm is another one."""
    plan = plan_of(["--broker", "sqlite"])
    assert plan.takeover == "auto"
    assert plan_of(["--broker", "sqlite"]).seed != plan.seed
