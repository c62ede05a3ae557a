"""Clients in a separate process, which reads and discards everything they are sent.

``python -m benchmarks.listeners PORT COUNT SECONDS``
"""

import selectors
import sys
import time

from tests.live.crowd import crowd

# Streams that one process opens together. More of them can miss the deadline of a
# crowd on a busy machine.
_AT_ONCE = 500


def main(port: int, count: int, seconds: float) -> None:
    """Connect, print a line, and read for this number of seconds."""
    deadline = time.monotonic() + seconds
    with crowd(port, 0) as them, selectors.DefaultSelector() as selector:
        while (missing := count - len(them.members)) > 0:
            them.join_all(min(missing, _AT_ONCE), port)
        for member in them.members:
            selector.register(member.socket, selectors.EVENT_READ, member.socket)
        print("connected", flush=True)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.recv(1 << 20):
                    selector.unregister(key.data)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
