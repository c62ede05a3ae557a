"""The extensions, created without an app so that no import becomes circular."""

from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_sse_hub import SSEHub


class Base(DeclarativeBase):
    """The base class of all tables."""


sse_hub = SSEHub()

login_manager = LoginManager()

db = SQLAlchemy(model_class=Base)
