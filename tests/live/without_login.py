"""A mistake: an app that requires logins and has no Flask-Login."""

from flask import Flask

from flask_sse_hub import SSEHub


def create_app() -> Flask:
    app = Flask("live")
    app.config["SECRET_KEY"] = "the same in every worker"
    SSEHub(app)
    return app
