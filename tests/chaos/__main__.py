"""Run a storm and print what happened; the exit code is 1 if a promise was broken."""

import argparse
import random
import sys
from collections.abc import Sequence

from tests.chaos.keepers import KEEPERS
from tests.chaos.storm import Plan, run

_FAULTS_SHOWN = 20


def plan_of(arguments: Sequence[str] | None = None) -> Plan:
    """Return the plan of a command line, by default of this process's."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--broker", choices=KEEPERS, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=400)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--generator",
        dest="takeover",
        action="store_const",
        const=False,
        default="auto",
        help="deliver by generator, not by taken-over sockets",
    )
    parser.add_argument(
        "--scarce",
        action="store_true",
        help="trim all but the newest events, so that some clients are reset",
    )
    return Plan(**vars(parser.parse_args(arguments)))


def main() -> int:
    """Run the storm that the command line describes."""
    plan = plan_of()
    print(plan)
    outcome = run(plan)
    print(", ".join(f"{name}: {count}" for name, count in outcome.counts.items()))
    for fault in outcome.faults[:_FAULTS_SHOWN]:
        print(fault)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
