"""Workers of job queues, in processes of their own, publish to the streams of an app.

The queue and the log are in one Redis.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import rq
from celery import Celery

from tests.compat.table import compat
from tests.kit.redis_server import RedisServer
from tests.live.packages import packages
from tests.live.server import ROOT, Server

pytestmark = pytest.mark.live

# The start of a worker imports more than a server does.
WITHIN = 60.0


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[Server]:
    with Server(broker_url=redis_server.url, name="compat") as server:
        yield server


@contextmanager
def worker(url: str, *words: str, paths: Sequence[Path] = ()) -> Iterator[None]:
    """Run a worker as long as the block lasts. It finds packages in these paths too."""
    environ = os.environ | {
        "COMPAT_LOG": url,
        "COMPAT_REDIS": url,
        "PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT])),
    }
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(command, env=environ, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(WITHIN)


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(
            "solo", marks=compat("celery", "gunicorn gevent", "Publisher, pool solo")
        ),
        pytest.param(
            "prefork",
            marks=compat("celery", "gunicorn gevent", "Publisher, pool prefork"),
        ),
        pytest.param(
            "threads",
            marks=compat("celery", "gunicorn gevent", "Publisher, pool threads"),
        ),
        pytest.param(
            "gevent",
            marks=compat("celery", "gunicorn gevent", "Publisher, pool gevent"),
        ),
        pytest.param(
            "eventlet",
            marks=compat("celery", "gunicorn gevent", "Publisher, pool eventlet"),
        ),
    ],
)
def test_a_celery_task_publishes(
    server: Server, redis_server: RedisServer, pool: str
) -> None:
    """One Publisher in the module serves each pool: it opens after any fork."""
    words = f"celery -A tests.compat.jobs worker -P {pool} -c 1 -l warning".split()
    paths = [packages("eventlet")] if pool == "eventlet" else []
    with worker(redis_server.url, *words, paths=paths), server.stream() as stream:
        stream.next("connected")
        Celery(broker=redis_server.url).send_task("greet", ["alice"])
        assert stream.next("message", within=WITHIN).data == "from a job"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            "rq.worker.Worker",
            marks=compat("rq", "gunicorn gevent", "Publisher, a fork for each job"),
        ),
        pytest.param(
            "rq.worker.SimpleWorker",
            marks=compat("rq", "gunicorn gevent", "Publisher, SimpleWorker"),
        ),
    ],
)
def test_an_rq_job_publishes(
    server: Server, redis_server: RedisServer, kind: str
) -> None:
    """Each job of the usual worker is a process of its own."""
    connection = redis.Redis.from_url(redis_server.url)
    rq.Queue(connection=connection).enqueue("tests.compat.jobs.greet", "alice")
    words = f"rq.cli worker -u {redis_server.url} -w {kind} --burst"
    with server.stream() as stream, worker(redis_server.url, *words.split()):
        assert stream.next("message", within=WITHIN).data == "from a job"
    connection.close()
