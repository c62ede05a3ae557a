"""The page about brokers: a setting of channels, and backups of the SQLite file."""

import shlex
import subprocess
import sys
from pathlib import Path

from flask import Flask

from flask_sse_hub import Event, SSEHub
from flask_sse_hub.brokers import create_broker
from flask_sse_hub.events.patterns import ChannelHistories
from tests.documented.samples import sample
from tests.documented.shell import commands

SETTING = sample("docs/brokers.md", "python", with_="SSE_HUB_HISTORY")
BACKUP = sample("docs/brokers.md", "sh", with_="VACUUM INTO")
RESTORE = sample("docs/brokers.md", "sh", with_="systemctl")

PUBLISH = """
import sys
from flask_sse_hub import Publisher

publisher = Publisher(sys.argv[1], create=True)
publisher.publish(sys.argv[2])
publisher.close()
"""


def test_the_setting_is_valid() -> None:
    """It has two patterns."""
    app = Flask("chat")
    exec(SETTING, {"app": app})  # noqa: S102
    app.secret_key = "s3cret"
    app.config |= {"SSE_HUB_BROKER_URL": "memory://", "SSE_HUB_LOGIN_REQUIRED": False}
    SSEHub(app)
    assert len(ChannelHistories.of(app.config["SSE_HUB_HISTORY"]).by_pattern) == 2


def test_a_backup_is_restored_by_the_commands(tmp_path: Path) -> None:
    """Clients resume from its events, and events after it are gone."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "backups").mkdir()

    def run(command: str) -> None:
        command = command.replace("/var/lib/app", str(tmp_path / "lib"))
        command = command.replace("/var/backups", str(tmp_path / "backups"))
        subprocess.run(["sh", "-c", command], check=True)

    # Processes of their own, which have ended when the file is replaced.
    url = f"sqlite:///{tmp_path}/lib/sse_hub.db"
    publish = f"{sys.executable} -c {shlex.quote(PUBLISH)} {url}"
    run(f"{publish} kept")
    run(BACKUP.replace("python", sys.executable, 1))
    run(f"{publish} lost")
    stop, *restore, start = commands(RESTORE)
    assert [stop, start] == ["systemctl stop app", "systemctl start app"]
    for command in restore:
        run(command)
    broker = create_broker(url, None, folder=tmp_path, name="app")
    found = broker.replay(broker.tail(10**6), page=10).records
    assert [record.content for record in found] == [Event("kept")]
    broker.close()
