"""A fault: each worker may open 200 files."""

import resource

from flask import Flask

from tests.live import site

FILES = 200


def create_app() -> Flask:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    return site.create_app()
