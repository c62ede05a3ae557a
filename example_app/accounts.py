"""Signing in and out.

This module does not deal with streams. Flask-Login signals each login and logout, and
the hub then ends the streams of that session.
"""

import re

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from .users import DEMO_PASSWORD, USERS, user_with

blueprint = Blueprint("accounts", __name__)

# A path of this site. Browsers read // and /\ as the beginning of a host name. They
# also ignore tabs and line ends, so "/<tab>/evil.example" would name a host too.
_LOCAL_PATH = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]*")


@blueprint.get("/login")
def login() -> ResponseReturnValue:
    """Show the login form."""
    if current_user.is_authenticated:
        return redirect(_where_next())
    return _form()


@blueprint.post("/login")
def sign_in() -> ResponseReturnValue:
    """Sign in and redirect to the page that was requested."""
    name = request.form.get("name", "")
    user = user_with(name, request.form.get("password", ""))
    if user is None:
        return _form(name=name, error="The name or the password is not right."), 401
    login_user(user)
    return redirect(_where_next())


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """Sign out. The streams of this session end in all its tabs."""
    # A request from another site comes without a session and must not begin one here.
    if current_user.is_authenticated:
        logout_user()
    return redirect(url_for("accounts.login"))


def _form(*, name: str = "", error: str | None = None) -> str:
    return render_template(
        "login.html",
        users=USERS.values(),
        password=DEMO_PASSWORD,
        name=name,
        error=error,
    )


def _where_next() -> str:
    # Anybody can write a link to the login page, and it must not lead to another site.
    path = request.args.get("next", "")
    return path if _LOCAL_PATH.fullmatch(path) else url_for("pages.index")
