"""What delivery by generator costs, beside a queue per client on the same server.

Prints a table of medians. The ratios mean something on any machine; the times do not.
"""

import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.live.crowd import Crowd, crowd
from tests.live.server import HOST, free_port
from tests.reader import wait_until

CLIENTS = 1000
ROUNDS = 5
PAYLOAD = b"x" * 100

#: name, events in one request, requests
LOADS = [("one event at a time", 1, 50), ("bursts of 50 events", 50, 4)]


class Server:
    """gunicorn with one gevent worker that serves one of the apps."""

    def __init__(self, app: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "gunicorn", "-k", "gevent"]
        command += ["-b", f"{HOST}:{self.port}", "--worker-connections", "2000"]
        command += ["--backlog", "2048", "--log-level", "error"]
        self.process = subprocess.Popen(
            [*command, f"benchmarks.apps:{app}()"],
            cwd=self._folder.name,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        wait_until(self._answers, within=30.0)
        (self.worker,) = psutil.Process(self.process.pid).children()

    def _answers(self) -> bool:
        try:
            self.post("/publish/0")
        except OSError:
            return False
        return True

    def post(self, path: str) -> None:
        """Ask for a publish and wait for the answer."""
        connection = http.client.HTTPConnection(HOST, self.port)
        try:
            connection.request("POST", path, PAYLOAD)
            connection.getresponse().read()
        finally:
            connection.close()

    def cpu(self) -> float:
        """Return the seconds of CPU that the worker has taken so far."""
        times = self.worker.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> float:
        """Stop it; return the seconds that took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40.0)
        finally:
            self.process.kill()
            self._folder.cleanup()
        return time.monotonic() - started


def measure(app: str) -> dict[str, float]:
    """Return the figures of one server's life."""
    server = Server(app)
    figures: dict[str, float] = {}
    try:
        idle = server.worker.memory_full_info().pss
        before = server.cpu()
        with crowd(server.port, CLIENTS) as them:
            figures["us of CPU to connect"] = (server.cpu() - before) / CLIENTS * 1e6
            figures["KiB per idle client"] = (
                (server.worker.memory_full_info().pss - idle) / CLIENTS / 1024
            )
            for name, events, requests in LOADS:
                figures[f"us per delivery, {name}"] = _deliver(
                    server, them, events=events, requests=requests
                )
    finally:
        server.stop()
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
    """Return the seconds from TERM to the end of a server with 200 streams."""
    server = Server("hub")
    with crowd(server.port, 200):
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
