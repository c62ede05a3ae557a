"""Start one of the ten nights, print its symptom, and end by itself."""

import argparse
import time
from contextlib import suppress

from tests.nights.deployments import NIGHTS


def main() -> None:
    """Run the night that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.nights", description=__doc__)
    parser.add_argument("night", choices=NIGHTS)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    night = NIGHTS[given.night]
    with night.start() as found:
        shell = found.server.folder / "shell"
        shell.write_text(found.server.shell())
        print(f"People say: {night.symptom}")
        print(f"They use:   {found.url} (log in: POST /login/alice)")
        print(f"Server:     {found.direct}, its log is {found.server.log_path}")
        print(f"Its shell:  . {shell}", flush=True)
        ends_at = time.monotonic() + 60.0 * given.minutes
        with suppress(KeyboardInterrupt):
            while time.monotonic() < ends_at:
                # People order something every second.
                with suppress(AssertionError, OSError):
                    found.server.publish("an order", channel="news", type="order")
                time.sleep(1.0)


if __name__ == "__main__":
    main()
