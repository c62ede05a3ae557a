"""A fault: each worker draws its SECRET_KEY when it starts."""

import secrets

from flask import Flask

from tests.live import site


def create_app() -> Flask:
    app = site.create_app()
    app.secret_key = secrets.token_hex()
    return app
