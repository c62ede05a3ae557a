"""The metrics as Prometheus reads them."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as classic

from flask_sse_hub import CloseReason, ConfigurationError
from flask_sse_hub.events.record import GapReason
from flask_sse_hub.hub.latency import Latency
from flask_sse_hub.metrics.exposition import exposition
from flask_sse_hub.metrics.machine import MachineFigures
from tests.kit.hand import HandHub
from tests.unit.metrics.test_machine import figures


@pytest.fixture
def two() -> MachineFigures:
    """Two workers with a stream each, and a third that is silent."""
    hub = HandHub()
    hub.stream(channels=("room.1",))
    hub.publish("a")
    hub.bring()
    one = figures(hub.hub)
    return MachineFigures([one, replace(one, worker=1)], silent=(2,))


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in classic(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(text: str, name: str, **labels: str) -> float:
    (found,) = [
        number for at, has, number in samples(text) if (at, has) == (name, labels)
    ]
    return found


def test_each_worker_has_series_of_its_own(two: MachineFigures) -> None:
    """The sums over all workers are Prometheus's own."""
    body, content_type = exposition(two, accept="")
    text = body.decode()
    assert content_type.startswith("text/plain")
    for worker in "01":
        assert value(text, "sse_hub_connections", worker=worker, delivery="hand") == 1
        assert value(text, "sse_hub_opened_total", worker=worker) == 1
        assert (
            value(text, "sse_hub_channel_connections", worker=worker, pattern="room.*")
            == 1
        )
        assert value(text, "sse_hub_publish_seconds_count", worker=worker) == 1
        assert value(text, "sse_hub_answers", worker=worker) == 2
        assert value(text, "sse_hub_running_answers", worker=worker) == 3
        assert value(text, "sse_hub_present", worker=worker) == 0
    assert value(text, "sse_hub_workers") == 2
    assert value(text, "sse_hub_workers_silent") == 1


def test_the_format_is_the_one_that_is_accepted(two: MachineFigures) -> None:
    """The strict parser of OpenMetrics reads it."""
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    body, content_type = exposition(two, accept=accept)
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert {"sse_hub_opened", "sse_hub_delivery_seconds", "sse_hub_worker"} <= names


def test_every_reason_has_a_series_before_it_occurs(two: MachineFigures) -> None:
    """A rate would miss the first occurrence of a series that is new."""
    text = exposition(two, accept="")[0].decode()
    for name, words in (("closed", CloseReason), ("resets", GapReason)):
        for word in words:
            found = value(text, f"sse_hub_{name}_total", worker="0", reason=word)
            assert found == 0


def test_no_label_names_a_user_a_channel_or_a_stream(two: MachineFigures) -> None:
    """Each new value of a label would be a series for ever."""
    text = exposition(two, accept="")[0].decode()
    labels = {name for _, has, _ in samples(text) for name in has}
    assert labels == {
        "worker",
        "delivery",
        "pattern",
        "reason",
        "operation",
        "le",
        "pid",
    }
    assert "room.1" not in text


def test_a_fact_that_is_unknown_has_no_series(two: MachineFigures) -> None:
    """A missing series says more than a 0."""
    one = two.workers[0]
    process = replace(one.process, open_files=None)
    body, _ = exposition(MachineFigures([replace(one, process=process)]), accept="")
    assert "sse_hub_process_open_fds{" not in body.decode()


def test_no_worker_at_all_is_no_error() -> None:
    """Only the silent are counted."""
    body, _ = exposition(MachineFigures([], silent=(0,)), accept="")
    assert value(body.decode(), "sse_hub_workers_silent") == 1


def test_without_its_package_the_error_says_what_to_install(
    two: MachineFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"flask-sse-hub\[metrics\]"):
        exposition(two, accept="")


def test_a_bucket_counts_all_that_are_below_its_bound(two: MachineFigures) -> None:
    """Times on a bound belong to its bucket, and negative ones to the first."""
    latency = Latency()
    for seconds in (-1.0, 0.0005, 0.0006, 3.0, 100.0):
        latency.observe(seconds)
    one = two.workers[0]
    hub = replace(one.hub, delivery_latency=latency.counts())
    body, _ = exposition(MachineFigures([replace(one, hub=hub)]), accept="")

    def bucket(bound: str) -> float:
        return value(
            body.decode(), "sse_hub_delivery_seconds_bucket", worker="0", le=bound
        )

    assert [bucket(b) for b in ("0.0005", "0.001", "5.0", "+Inf")] == [2, 3, 4, 5]
