"""Run a storm and print what happened; the exit code is 1 if a promise was broken."""

import argparse
import random
import sys

from tests.chaos.keepers import KEEPERS
from tests.chaos.storm import Plan, run

_FAULTS_SHOWN = 20


def main() -> int:
    """Run the storm that the command line describes."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--broker", choices=KEEPERS, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=400)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--generator",
        dest="socket_takeover",
        action="store_const",
        const=False,
        default="auto",
        help="deliver by generator, not by taken-over sockets",
    )
    plan = Plan(**vars(parser.parse_args()))
    print(plan)
    outcome = run(plan)
    print(", ".join(f"{name}: {count}" for name, count in outcome.counts.items()))
    for fault in outcome.faults[:_FAULTS_SHOWN]:
        print(fault)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
