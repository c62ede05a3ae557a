"""The page about receipts: its app tells the sender, and mails if nobody is there."""

import json
from types import SimpleNamespace
from typing import Any

from flask import request
from flask_login import login_required

from flask_sse_hub import event_unheard
from flask_sse_hub.testing import Clock
from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.kit.reader import wait_until

APP = sample("docs/receipts.md", "python")


def test_the_app_mails_what_nobody_has_heard(make_site: MakeSite) -> None:
    """A message to a present person is delivered instead."""
    site = make_site()
    clock = Clock()
    state = site.app.extensions["sse_hub"]
    state.clock, state.time_of_day = clock, clock.time_of_day
    clock.keep_time_of(state.hub)
    mailed: list[str] = []
    names: dict[str, Any] = {
        "app": site.app,
        "sse_hub": site.hub,
        "request": request,
        "login_required": login_required,
        "store_message": lambda form: SimpleNamespace(id=7, to=form["to"]),
        "mail_the_message": lambda user, _: mailed.append(user),
    }
    exec(APP, names)  # noqa: S102
    ann = site.browser("ann")
    stream = ann.stream()
    ids = [
        ann.client.post("/messages", data={"to": name}).get_json()["event"]
        for name in ("ann", "bob")
    ]
    assert json.loads(stream.next("message").data) == {"id": 7}

    def is_mailed() -> bool:
        # The time that counts begins when the worker has read the event.
        clock.advance(1)
        return mailed == ["bob"]

    wait_until(is_mailed)
    found = [ann.get(f"/receipts/{each}").json["delivered"] for each in ids]
    assert found == [True, False]
    stream.close()
    event_unheard.disconnect(names["send_mail"])
