"""Write docs/monitoring/grafana/sse_hub.json, the dashboard for Grafana.

Run ``python -m docs.make_dashboard`` after a change of the panels below.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).parent / "monitoring/grafana/sse_hub.json"

_WHERE = 'instance=~"$instance"'
_BY_WORKER = "{{instance}} {{worker}}"


class Panel(NamedTuple):
    """One chart: its queries by the name of their lines, and its unit."""

    title: str
    unit: str
    queries: dict[str, str]
    about: str = ""


def _quantiles(name: str) -> dict[str, str]:
    return {
        f"p{percent}": f"histogram_quantile(0.{percent}, sum by (le)"
        f" (rate(sse_hub_{name}_bucket{{{_WHERE}}}[$__rate_interval])))"
        for percent in (50, 99)
    }


def _of(name: str) -> str:
    return f"sse_hub_{name}{{{_WHERE}}}"


def _sum(name: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (sse_hub_{name}{{{_WHERE}}})"


def _rate(name: str, by: str = "") -> str:
    rate = f"rate(sse_hub_{name}_total{{{_WHERE}}}[$__rate_interval])"
    return f"sum{f' by ({by})' if by else ''} ({rate})"


#: The rows of the dashboard, from what hurts to what explains it.
ROWS: dict[str, list[Panel]] = {
    "Now": [
        Panel("Streams", "short", {"streams": _sum("connections")}),
        Panel("Users", "short", {"users": _sum("users")}, "By machine."),
        Panel(
            "Workers",
            "short",
            {"answer": _sum("workers"), "silent": _sum("workers_silent")},
        ),
        Panel(
            "Broker up",
            "short",
            {"reached by": _sum("broker_up"), "workers": _sum("workers")},
        ),
    ],
    "Delivery": [
        Panel(
            "Events to clients",
            "ops",
            {"events": _rate("events_out")},
        ),
        Panel("Bytes to clients", "Bps", {"bytes": _rate("bytes_out")}),
        Panel(
            "Delivery",
            "s",
            _quantiles("delivery_seconds"),
            "From an event's place in the log to the last direct write.",
        ),
        Panel("publish()", "s", _quantiles("publish_seconds")),
    ],
    "Streams": [
        Panel(
            "By worker",
            "short",
            {_BY_WORKER: _sum("connections", "instance, worker")},
        ),
        Panel(
            "By delivery", "short", {"{{delivery}}": _sum("connections", "delivery")}
        ),
        Panel(
            "By pattern",
            "short",
            {"{{pattern}}": _sum("channel_connections", "pattern")},
        ),
        Panel("Opened", "ops", {"opened": _rate("opened")}),
        Panel("Ended", "ops", {"{{reason}}": _rate("closed", "reason")}),
        Panel("Lagging", "short", {"lagging": _sum("lagging")}),
    ],
    "Trouble": [
        Panel("Refused", "ops", {"{{reason}}": _rate("refused", "reason")}),
        Panel("Resets", "ops", {"{{reason}}": _rate("resets", "reason")}),
        Panel(
            "Broker errors",
            "ops",
            {"{{operation}}": _rate("broker_errors", "operation")},
        ),
        Panel(
            "Broker round trip",
            "s",
            {_BY_WORKER: _of("broker_round_trip_seconds")},
        ),
        Panel(
            "Hooks of presence that wait",
            "short",
            {_BY_WORKER: _of("hooks_waiting")},
        ),
        Panel(
            "Deaf",
            "s",
            {_BY_WORKER: _of("deaf_seconds")},
        ),
    ],
    "Workers": [
        Panel(
            "CPU",
            "percentunit",
            {_BY_WORKER: f"rate({_of('process_cpu_seconds_total')}[$__rate_interval])"},
        ),
        Panel(
            "Memory",
            "bytes",
            {_BY_WORKER: _of("process_resident_memory_bytes")},
        ),
        Panel(
            "Descriptors in use",
            "percentunit",
            {_BY_WORKER: f"{_of('process_open_fds')} / {_of('process_max_fds')}"},
        ),
        Panel(
            "History in memory",
            "bytes",
            {_BY_WORKER: _of("history_bytes")},
        ),
        Panel(
            "Answers and people",
            "short",
            {
                "streams of one request": _sum("answers"),
                "answers that outlive their readers": _sum("running_answers"),
                "people present": f"max ({_of('present')})",
            },
        ),
    ],
}

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(
    panel: Panel, *, number: int, left: int, top: int, width: int
) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"h": 7, "w": width, "x": left, "y": top},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10}},
            "overrides": [],
        },
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": expr,
                "legendFormat": legend,
                "datasource": _SOURCE,
            }
            for index, (legend, expr) in enumerate(panel.queries.items())
        ],
    }


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
                "panels": [],
            }
        )
        top += 1
        width = 6 if len(row) == 4 else 8
        for index, panel in enumerate(row):
            column = index % (24 // width)
            panels.append(
                _panel(
                    panel,
                    number=len(panels) + 1,
                    left=column * width,
                    top=top + 7 * (index // (24 // width)),
                    width=width,
                )
            )
        top += 7 * -(-len(row) // (24 // width))
    return {
        "uid": "sse-hub",
        "title": "flask_sse_hub",
        "tags": ["sse"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                },
                {
                    "name": "instance",
                    "label": "Machine",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(sse_hub_workers, instance)",
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "panels": panels,
    }


def written() -> str:
    """Return the text of the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(written())
