"""The pace of presence hooks, with a receiver on the loopback interface.

``python -m benchmarks.hooks`` prints how many signed deliveries one worker makes in a
second to one URL, and the CPU time of each, with each log. The receiver is a process of
its own that answers at once. The baseline is the same requests without a hub.
"""

import base64
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask_sse_hub.brokers import create_broker
from flask_sse_hub.events.record import Retention
from flask_sse_hub.hub.hooks.records import Hook
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.web.hooks import body_of
from flask_sse_hub.webhooks.schemes import StandardWebhooks
from flask_sse_hub.webhooks.sending import Sender
from tests.kit.receiver import Receiver
from tests.kit.redis_server import RedisServer

_HOOKS = 3_000
_KEEP = Retention(events=100_000, seconds=3600.0, bytes=100_000_000)
_SECRET = "whsec_" + base64.b64encode(b"a secret of the benchmark").decode()


def _receive() -> None:
    """Answer requests until the standard input ends."""
    with Receiver() as receiver:
        print(receiver.url, flush=True)
        sys.stdin.read()


@contextmanager
def _receiver() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.hooks", "receive"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        yield process.stdout.readline().strip()
        process.communicate("")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return how many times a second the work was done, and the CPU time of each."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    return _HOOKS / seconds, used / _HOOKS * 1e6


def _hook(number: int, url: str) -> Hook:
    return Hook("user_came", f"user-{number}", time.time(), url)


def _bare(url: str) -> float:
    sender = Sender(url, StandardWebhooks(_SECRET))

    def work() -> None:
        for number in range(_HOOKS):
            hook = _hook(number, url)
            if problem := sender.send(hook.id, body_of(hook)):
                raise AssertionError(problem)

    pace, used = _timed(work)
    sender.close()
    print(f"signed requests alone: {pace:.0f} a second, {used:.0f} us of CPU each")
    return pace


def _through(name: str, broker_url: str, url: str, bare: float) -> None:
    sender = Sender(url, StandardWebhooks(_SECRET))
    with tempfile.TemporaryDirectory() as folder:
        broker = create_broker(broker_url, _KEEP, folder=Path(folder), name="bench")
        parts = Parts(
            broker,
            HubOptions(memory=_KEEP, presence=True),
            hooks={url: lambda hook: sender.send(hook.id, body_of(hook))},
        )
        hub = Hub(parts)
        hub.start()

        def work() -> None:
            for number in range(_HOOKS):
                hook = _hook(number, url)
                parts.hooks.note(hook.type, hook.name, time=hook.time, is_own=True)
            # The last one has left the log too.
            while parts.tally.hooks_delivered < _HOOKS or len(parts.hooks.book):
                time.sleep(0.01)

        pace, used = _timed(work)
        hub.close()
        sender.close()
    failed = parts.tally.hooks_failed
    print(
        f"hooks over {name}: {pace:.0f} a second ({pace / bare:.2f} x), {used:.0f} us"
        f" of CPU each, {failed} failed"
    )


def main() -> None:
    """Print all figures."""
    if sys.argv[1:] == ["receive"]:
        _receive()
        return
    with _receiver() as url, RedisServer() as redis:
        bare = _bare(url)
        for name, broker_url in (
            ("memory", "memory://"),
            ("SQLite", "sqlite:///hub.db"),
            ("Redis", redis.url),
        ):
            _through(name, broker_url, url, bare)


if __name__ == "__main__":
    main()
