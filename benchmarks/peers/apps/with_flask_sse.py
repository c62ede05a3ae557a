"""A Flask app with Flask-SSE. The environment has the URL of Redis."""

from flask import Flask, request
from flask_sse import sse

app = Flask("with_flask_sse")
app.config.from_prefixed_env()
app.register_blueprint(sse, url_prefix="/events")


@app.get("/")
def page() -> str:
    """Answer an ordinary request."""
    return "ok"


@app.post("/publish")
def publish() -> str:
    """Publish the body, as often as ``count`` says."""
    for _ in range(int(request.args["count"])):
        sse.publish(request.get_data(as_text=True))
    return ""
