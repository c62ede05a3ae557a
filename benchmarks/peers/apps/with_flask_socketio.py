"""A Flask app with Flask-SocketIO. Events reach every client of the app."""

from flask import Flask, request
from flask_socketio import SocketIO

app = Flask("with_flask_socketio")
socketio = SocketIO(app, async_mode="gevent")


@app.get("/")
def page() -> str:
    """Answer an ordinary request."""
    return "ok"


@app.post("/publish")
def publish() -> str:
    """Send the body to every client, as often as ``count`` says."""
    for _ in range(int(request.args["count"])):
        socketio.emit("message", request.get_data(as_text=True))
    return ""
