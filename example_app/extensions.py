"""The extensions, made without an app: any module can import them without a circle."""

from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_sse_hub import SSEHub


class Base(DeclarativeBase):
    """What each table's class is one of."""


sse_hub = SSEHub()

login_manager = LoginManager()

db = SQLAlchemy(model_class=Base)
