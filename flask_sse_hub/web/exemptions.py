"""Exemptions: checks of other extensions that do not fit the endpoints.

Finds these extensions in ``app.extensions`` and imports none of them.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, current_app

#: The endpoints for publishing and for other channels, in the blueprint.
PUBLISH = "publish"
SUBSCRIPTIONS = "subscriptions"

#: The endpoints that tell forged requests by themselves: publishing ignores cookies,
#: the one for other channels looks at the origin, and the console's actions need a
#: header that no form can send.
SELF_GUARDED = (
    PUBLISH,
    SUBSCRIPTIONS,
    "console_close",
    "console_test",
    "console_publish",
)


def exempt_from_checks(blueprint: Blueprint) -> None:
    """Exempt the endpoints of a blueprint, once the app has all of its extensions.

    An extension may be added to the app later than the hub, so this waits for the first
    request. Flask calls this function before any before_request hook.
    """
    waiting = [True]

    @blueprint.url_value_preprocessor
    def exempt(*_: object) -> None:
        if waiting:
            waiting.clear()
            views = _views_of(blueprint)
            for endpoint in SELF_GUARDED:
                _exempt_from_csrf(views.get(endpoint))
            _exempt_from_limits(*views.values())


def _views_of(blueprint: Blueprint) -> dict[str, Callable[..., Any]]:
    prefix = f"{blueprint.name}."
    return {
        endpoint.removeprefix(prefix): view
        for endpoint, view in current_app.view_functions.items()
        if endpoint.startswith(prefix)
    }


def _exempt_from_csrf(view: Callable[..., Any] | None) -> None:
    """Exempt a view from Flask-WTF's CSRF check, if the app has Flask-WTF.

    The check guards against forged requests with which a browser sends its cookies.
    """
    exempt = getattr(current_app.extensions.get("csrf"), "exempt", None)
    if view is not None and exempt is not None:
        exempt(view)


def _exempt_from_limits(*views: Callable[..., Any]) -> None:
    """Exempt views from the default limits of Flask-Limiter, if the app has it.

    A native EventSource never reconnects after a 429, and a load balancer takes it for
    a sick worker. The views are exempted one by one: a limit that the app sets for the
    whole blueprint is meant, and still counts.
    """
    found = current_app.extensions.get("limiter", ())
    # Before version 2 of Flask-Limiter this is the extension itself.
    for limiter in found if isinstance(found, set) else (found,):
        for view in views if hasattr(limiter, "exempt") else ():
            limiter.exempt(view)
