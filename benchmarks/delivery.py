"""The cost of delivery by generator, compared with a queue per client.

Both run on the same server. Prints a table of medians. The ratios are comparable
between machines; the times are not.
"""

import statistics

from benchmarks.processes import PAYLOAD, Server
from tests.live.crowd import Crowd, crowd

CLIENTS = 1000
ROUNDS = 5

#: name, events in one request, requests
LOADS = [("one event at a time", 1, 50), ("bursts of 50 events", 50, 4)]


# A setting of the hub. The baseline ignores it.
_BY_GENERATOR = {"socket_takeover": "false"}


def measure(app: str) -> dict[str, float]:
    """Start a server, and return its figures."""
    figures: dict[str, float] = {}
    with Server(app, settings=_BY_GENERATOR) as server:
        (worker,) = server.workers
        idle = worker.memory_full_info().pss
        before = server.cpu()
        with crowd(server.port, CLIENTS) as them:
            figures["us of CPU to connect"] = (server.cpu() - before) / CLIENTS * 1e6
            figures["KiB per idle client"] = (
                (worker.memory_full_info().pss - idle) / CLIENTS / 1024
            )
            for name, events, requests in LOADS:
                figures[f"us per delivery, {name}"] = _deliver(
                    server, them, events=events, requests=requests
                )
    return figures


def _deliver(server: Server, them: Crowd, *, events: int, requests: int) -> float:
    before = server.cpu()
    for _ in range(requests):
        wanted = [len(member.data) + events for member in them.members]
        reached = dict(zip(map(id, them.members), wanted, strict=True))
        server.post(f"/publish/{events}")
        them.read_until(lambda m, r=reached: len(m.data) >= r[id(m)])  # type: ignore[misc]
    return (server.cpu() - before) / (CLIENTS * events * requests) * 1e6


def measure_stop() -> float:
    """Return the seconds that a server with 200 streams takes to stop after TERM."""
    with Server("hub", settings=_BY_GENERATOR) as server, crowd(server.port, 200):
        return server.stop()


def main() -> None:
    """Print the table."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(measure("hub"))
        theirs.append(measure("baseline"))
    print(
        f"{CLIENTS} clients, {len(PAYLOAD)} bytes, medians of {ROUNDS} rounds in turn"
    )
    print(f"{'':44}{'hub':>8}{'queues':>8}{'ratio':>7}")
    for key in ours[0]:
        hub = statistics.median(each[key] for each in ours)
        base = statistics.median(each[key] for each in theirs)
        print(f"{key:44}{hub:8.1f}{base:8.1f}{hub / base:7.2f}")
    stops = statistics.median(measure_stop() for _ in range(ROUNDS))
    print(f"seconds from TERM to the end, 200 streams   {stops:8.2f}")


if __name__ == "__main__":
    main()
