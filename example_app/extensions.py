"""The extensions, made without an app: any module can import them without a circle."""

from flask_login import LoginManager

from flask_sse_hub import SSEHub

sse_hub = SSEHub()

login_manager = LoginManager()
