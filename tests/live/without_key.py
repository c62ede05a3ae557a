"""A mistake: an app with logins and without a SECRET_KEY."""

from flask import Flask
from flask_login import LoginManager

from flask_sse_hub import SSEHub


def create_app() -> Flask:
    app = Flask("live")
    LoginManager(app).user_loader(lambda _: None)
    SSEHub(app)
    return app
