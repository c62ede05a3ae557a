"""An app of Flask-Security: users in a database, tokens, and ids that are no keys."""

import json
import os
from typing import Any

from flask import Flask, Response
from flask_login import current_user
from flask_security import Security, SQLAlchemyUserDatastore, auth_required, login_user
from flask_security.models import fsqla_v3 as fsqla
from flask_sqlalchemy import SQLAlchemy

from flask_sse_hub import SSEHub

EMAIL = "alice@example.org"


def create_app(**settings: Any) -> Flask:
    app = Flask("security")
    app.config.update(
        SECRET_KEY="a key for tests, long enough",
        SECURITY_PASSWORD_SALT="1" * 20,
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SCHEMES=["plaintext"],
        WTF_CSRF_ENABLED=False,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.getcwd()}/people.db",  # noqa: PTH109
    )
    app.config.update(
        {
            key: json.loads(value)
            for key, value in os.environ.items()
            if key.startswith("SSE_HUB_")
        }
    )
    app.config.update(settings)
    security = _add_security(app)
    _add_views(app, security, SSEHub(app))
    return app


def _add_security(app: Flask) -> Security:
    db = SQLAlchemy(app)
    fsqla.FsModels.set_db_info(db)

    class Role(db.Model, fsqla.FsRoleMixin):  # type: ignore[misc,name-defined]
        pass

    class User(db.Model, fsqla.FsUserMixin):  # type: ignore[misc,name-defined]
        pass

    security = Security(app, SQLAlchemyUserDatastore(db, User, Role))
    with app.app_context():
        db.create_all()
        if security.datastore.find_user(email=EMAIL) is None:
            security.datastore.create_user(email=EMAIL, password="x")
            db.session.commit()
    return security


def _add_views(app: Flask, security: Security, sse_hub: SSEHub) -> None:
    def alice() -> Any:
        return security.datastore.find_user(email=EMAIL)

    @app.get("/token")
    def token() -> str:
        return str(alice().get_auth_token())

    @app.post("/enter")
    def enter() -> str:
        login_user(alice())
        return "in"

    @app.get("/mine")
    @auth_required("token")  # type: ignore[untyped-decorator]
    def mine() -> Response:
        return sse_hub.stream("a channel of the view")

    @app.post("/greet/<kind>")
    @auth_required("token", "session")  # type: ignore[untyped-decorator]
    def greet(kind: str) -> str:
        targets = {"current": current_user, "object": alice(), "key": alice().id}
        return sse_hub.publish(kind, user=targets[kind])

    @app.post("/lock")
    def lock() -> str:
        security.datastore.deactivate_user(alice())
        security.datastore.commit()
        return "locked"

    @sse_hub.reload_user
    def reload_user(user_id: str) -> Any:
        return security.datastore.find_user(fs_uniquifier=user_id)
