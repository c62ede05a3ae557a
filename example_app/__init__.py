"""An example app: typical uses of server-sent events, in small modules.

Read it like a tutorial, in this order:

* ``extensions`` and this module: adding a hub to an app;
* ``users`` and ``accounts``: signing in, since a stream belongs to a user;
* ``demo`` and ``lobby``: publishing to people, tabs and channels, and showing who is
  there;
* ``figures`` and ``pages``: a dashboard that is correct from the moment it loads;
* ``api`` and ``webhooks``: publishing on behalf of programs;
* ``database``, ``language_model``, ``conversations``, ``lasting`` and ``chat``: an
  answer that comes word by word, and goes on through a reload;
* ``contacts`` and ``imports``: a long task with a progress bar, which all tabs of the
  user show, and any of them cancels;
* ``sources``: the links from each page to its code and its guide;
* ``security`` and ``errors``: the parts that every app needs, with or without streams;
* ``templates/base.html`` and ``static/js/page.js``: the one stream of all pages. From
  there, read how each page uses it.
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
    lobby,
    pages,
    security,
    sources,
    webhooks,
)
from .extensions import login_manager, sse_hub
from .lobby import LOBBY
from .users import current_user_is_admin, load_user

log = logging.getLogger(__name__)


def create_app() -> Flask:
    """Return the app.

    An environment variable overrides each setting. Its name is ``FLASK_`` and the name
    of the setting, for example ``FLASK_SSE_HUB_HEARTBEAT_INTERVAL=10``.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        # Lax: a form on another site can post here, but without this cookie, so its
        # request is anonymous. With TLS in front, set FLASK_SESSION_COOKIE_SECURE=true.
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_HTTPONLY=True,
        # Every body is one short event, except for the files to import.
        MAX_CONTENT_LENGTH=64 * 1024,
        IMPORT_MAX_BYTES=8 * 1024 * 1024,
        # Both in seconds. CHAT_PACE is the time that the stand-in for a model takes per
        # token. IMPORT_PAUSE is the pause of an import after each batch, in which other
        # requests have their turn.
        CHAT_PACE=0.04,
        IMPORT_PAUSE=0.02,
        # Relative to the instance folder.
        SQLALCHEMY_DATABASE_URI="sqlite:///example.db",
        # Keeps chats and contacts out of the log: a database error would otherwise
        # quote the parameters of its statement.
        SQLALCHEMY_ENGINE_OPTIONS={"hide_parameters": True},
        # True lets webhooks be signed with a secret that anybody can read in this
        # source. Only for trying webhooks out.
        DEMO=False,
        SSE_HUB_PUBLIC_CHANNELS=(LOBBY,),
        SSE_HUB_PRESENCE=(LOBBY,),
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
    lobby.init_app(app)
    sources.init_app(app)
    for module in (accounts, pages, demo, lobby, api, webhooks, chat, imports):
        app.register_blueprint(module.blueprint)
    return app


def _secret_key() -> str:
    # Read as a string: from_prefixed_env would turn a key of digits into a number.
    key = os.environ.get("FLASK_SECRET_KEY")
    if key:
        return key
    log.warning(
        "FLASK_SECRET_KEY is not set: a random key is used, so everybody is signed out"
        " when this process ends, and other processes do not know who is signed in here"
    )
    return secrets.token_urlsafe(32)
