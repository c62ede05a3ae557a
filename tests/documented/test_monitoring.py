"""The dashboard, the alerts, and their runbook: valid, and about metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import make_dashboard
from flask_sse_hub.metrics.exposition import exposition
from flask_sse_hub.metrics.machine import MachineFigures
from tests.documented.samples import sample
from tests.kit.hand import HandHub
from tests.unit.metrics.test_machine import figures
from tests.wire.real_parts import absent

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/monitoring"
ALERTS = FOLDER / "alerts.yml"

INSTALL = sample("docs/operations.md", "sh", with_="flask-sse-hub[metrics]")
COMMANDS = sample("docs/operations.md", "sh", with_="flask sse doctor")
SCRAPE = sample("docs/operations.md", "yaml", with_="scrape_configs")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def metrics() -> str:
    """Return the metrics of a worker with a stream and a hook."""
    hub = HandHub(hooks={"https://app.example": lambda _: None})
    hub.stream(channels=("room.1",))
    hub.publish("a")
    hub.bring()
    return exposition(MachineFigures([figures(hub.hub)]), accept="")[0].decode()


@pytest.fixture(scope="module")
def names() -> set[str]:
    """The names of all series."""
    lines = metrics().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if line[0] != "#"}


def promtool(*words: str, given: str | None = None) -> None:
    """Run Prometheus's own checker."""
    if shutil.which("promtool") is None:
        absent("promtool", remedy="apt-get install prometheus")
    found = subprocess.run(
        ["promtool", *words],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_rules_are_valid_and_fire_as_they_should() -> None:
    """Prometheus's own checker knows the functions and labels of Prometheus."""
    promtool("check", "rules", ALERTS.name)
    promtool("test", "rules", "alerts_test.yml")


def test_the_metrics_follow_the_conventions_of_prometheus() -> None:
    """Names, units and help texts: promtool's linter has nothing to say."""
    promtool("check", "metrics", given=metrics())


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """Only the paths in the container are replaced."""
    text = (FOLDER / "prometheus.yml").read_text()
    text = text.replace("/etc/prometheus/alerts.yml", str(ALERTS))
    text = text.replace("/run/secrets/sse_hub_token", "/dev/null")
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_the_page_scrapes_as_the_compose_file_does() -> None:
    """Only the address and the place of the token differ."""
    (ours,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    (shown,) = yaml.safe_load(SCRAPE)["scrape_configs"]
    assert shown["metrics_path"] == ours["metrics_path"]
    assert shown["job_name"] == ours["job_name"]
    assert shown.keys() == ours.keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_is_in_the_runbook(rule: dict[str, Any], names: set[str]) -> None:
    """It is about metrics that exist, and its link leads to its entry."""
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert f"\n## {rule['alert']}\n" in (ROOT / "docs" / page).read_text()
    assert anchor == rule["alert"].lower()
    assert set(re.findall(r"sse_hub_\w+", rule["expr"])) <= names | {"sse_hub"}


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    """An alert that is renamed takes its entry along."""
    text = (ROOT / "docs/runbook.md").read_text()
    assert re.findall(r"^## (\w+)$", text, re.M) == [rule["alert"] for rule in rules()]


def test_the_dashboard_is_written_from_its_panels() -> None:
    """Run `python -m docs.make_dashboard` after a change."""
    assert make_dashboard.PATH.read_text() == make_dashboard.written()


def test_every_panel_is_about_metrics_that_exist(names: set[str]) -> None:
    """Panels have numbers of their own, and none covers another one."""
    panels = json.loads(make_dashboard.PATH.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        covered = {
            (at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])
        }
        assert not covered & cells, panel["title"]
        cells |= covered
        for target in panel.get("targets", ()):
            assert set(re.findall(r"sse_hub_\w+", target["expr"])) <= names


def test_the_compose_file_mounts_files_that_are_there() -> None:
    """Docker would make a folder of a missing file."""
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service["volumes"]:
            assert (FOLDER / volume.partition(":")[0]).is_file(), volume
    for name in ("datasource.yml", "provisioning.yml"):
        assert (
            yaml.safe_load((FOLDER / "grafana" / name).read_text())["apiVersion"] == 1
        )


def test_the_extra_and_the_commands_exist() -> None:
    """Names of extras and of commands are written as they are."""
    assert "\nmetrics = " in (ROOT / "setup.cfg").read_text()
    assert "[metrics]" in INSTALL
    known = ["doctor", "top", "streams", "listen", "explain", "record", "disconnect"]
    assert [line.split()[2] for line in COMMANDS.splitlines()] == known
