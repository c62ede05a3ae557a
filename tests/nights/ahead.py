"""A fault: the clock of this machine is an hour ahead."""

import time

from flask import Flask

_time = time.time
time.time = lambda: _time() + 3600.0


def create_app() -> Flask:
    # Imported now: modules may keep the function that tells the time.
    from tests.live import site

    return site.create_app()
