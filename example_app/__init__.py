"""An example app: what people build with server-sent events, in small modules.

Read it like a tutorial, in this order:

* ``extensions`` and this module: how a hub is added to an app;
* ``users`` and ``accounts``: who is there, since a stream belongs to somebody;
* ``demo`` and ``presence``: publishing to people, tabs and channels;
* ``figures`` and ``pages``: a dashboard that is right from its first moment on;
* ``api`` and ``webhooks``: publishing on behalf of programs;
* ``database``, ``language_model``, ``conversations`` and ``chat``: an answer that comes
  word by word, the stream of one request;
* ``contacts`` and ``imports``: a long task with its progress, in the same way;
* ``security`` and ``errors``: what every app needs, whatever it streams;
* ``templates/base.html`` and ``static/js/page.js``: the one stream of all pages, and
  from there what each page does with it.
"""

import logging
import os
import secrets

from flask import Flask

from . import (
    accounts,
    api,
    chat,
    database,
    demo,
    errors,
    figures,
    imports,
    pages,
    presence,
    security,
    webhooks,
)
from .extensions import login_manager, sse_hub
from .presence import LOBBY
from .users import current_user_is_admin, load_user

log = logging.getLogger(__name__)


def create_app() -> Flask:
    """Return the app. The environment overrides each setting: ``FLASK_`` and its name.

    ``FLASK_SSE_HUB_HEARTBEAT_INTERVAL=10`` for one.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        # Lax: a form on another site can post here, but without this cookie, so that it
        # is nobody's request. With TLS in front set FLASK_SESSION_COOKIE_SECURE=true.
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_HTTPONLY=True,
        # Whatever is posted here is one short event, but for files to import.
        MAX_CONTENT_LENGTH=64 * 1024,
        IMPORT_MAX_BYTES=8 * 1024 * 1024,
        # Seconds: how long the stand-in for a model takes for a token, and an import
        # rests after each batch, in which all other requests have their turn.
        CHAT_PACE=0.04,
        IMPORT_PAUSE=0.02,
        # Relative to the instance folder.
        SQLALCHEMY_DATABASE_URI="sqlite:///example.db",
        # What people write and whom they know is not for the log, where an error of the
        # database would have it otherwise.
        SQLALCHEMY_ENGINE_OPTIONS={"hide_parameters": True},
        # Whether webhooks may be signed with a secret that anybody can read in this
        # source: to try them out.
        DEMO=False,
        SSE_HUB_PUBLIC_CHANNELS=(LOBBY,),
        SSE_HUB_STATS_ACCESS=current_user_is_admin,
    )
    app.config.from_prefixed_env()
    app.secret_key = _secret_key()

    login_manager.init_app(app)
    login_manager.user_loader(load_user)
    login_manager.unauthorized_handler(errors.ask_for_login)
    database.init_app(app)
    # The hub reads its SSE_HUB_ settings here, once, and mounts /events.
    sse_hub.init_app(app)

    security.init_app(app)
    errors.init_app(app)
    figures.init_app(app)
    presence.init_app(app)
    for module in (accounts, pages, demo, api, webhooks, chat, imports):
        app.register_blueprint(module.blueprint)
    return app


def _secret_key() -> str:
    # Taken as it is written: from_prefixed_env would make a number of a key of digits.
    key = os.environ.get("FLASK_SECRET_KEY")
    if key:
        return key
    log.warning(
        "FLASK_SECRET_KEY is not set: a random key is used, so everybody is signed out"
        " when this process ends, and other processes do not know who is signed in here"
    )
    return secrets.token_urlsafe(32)
