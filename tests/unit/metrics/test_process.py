"""Facts about a process, compared with psutil's."""

import os

import psutil
import pytest

from flask_sse_hub.metrics.process import ProcessFacts


def test_the_facts_are_those_of_the_calling_process() -> None:
    """The numbers of the kernel, read by another program."""
    facts, process = ProcessFacts.now(), psutil.Process()
    assert facts.pid == os.getpid()
    assert facts.started_at == pytest.approx(process.create_time(), abs=2.0)
    assert facts.resident_bytes == pytest.approx(process.memory_info().rss, rel=0.2)
    assert facts.open_files == pytest.approx(process.num_fds(), abs=3)
    assert 0 < facts.cpu_seconds <= sum(os.times()[:2])
