"""Hosts: the host or subdomain of the endpoints, in an app whose routes have one.

Without a setting the endpoints are on every host, as they are in other apps.
"""

from typing import Any

from flask import Blueprint, Flask, has_request_context
from flask.globals import app_ctx, request_ctx

from ..errors import ConfigurationError

# The variable part of a rule for every host. The name must not be one of the app's own.
_VARIABLE = "sse_hub_host"
# The bare domain has an empty subdomain.
_EVERY_SUBDOMAIN = f"<string(minlength=0):{_VARIABLE}>"


def rule_options(
    app: Flask, *, host: str | None, subdomain: str | None
) -> dict[str, str]:
    """Return the options for the endpoints' rules.

    ``host`` and ``subdomain`` are the settings. Raises ConfigurationError for a setting
    that the app's routes would ignore, or that no request could match.
    """
    if host is not None and not app.url_map.host_matching:
        raise ConfigurationError(
            "SSE_HUB_HOST needs an app that matches hosts: create it with"
            " Flask(..., host_matching=True, static_host=...), or remove SSE_HUB_HOST"
        )
    if subdomain is not None and not _matches_subdomains(app):
        raise ConfigurationError(
            "SSE_HUB_SUBDOMAIN needs an app that matches subdomains: create it with"
            " Flask(..., subdomain_matching=True), or remove SSE_HUB_SUBDOMAIN"
        )
    if subdomain and not app.config.get("SERVER_NAME"):
        raise ConfigurationError(
            "SSE_HUB_SUBDOMAIN needs SERVER_NAME: set it to the domain above the"
            " subdomains, such as example.com, before init_app"
        )
    if app.url_map.host_matching:
        return {"host": f"<{_VARIABLE}>" if host is None else host}
    if _matches_subdomains(app):
        return {"subdomain": _EVERY_SUBDOMAIN if subdomain is None else subdomain}
    return {}


def _matches_subdomains(app: Flask) -> bool:
    return app.subdomain_matching and not app.url_map.host_matching


class HostBlueprint(Blueprint):
    """A blueprint whose rules all have the same options for their host.

    The views and the callers of ``url_for()`` do not see a variable host: URLs are
    those of the present request's host.
    """

    def __init__(
        self, name: str, import_name: str, *, options: dict[str, str], url_prefix: str
    ) -> None:
        super().__init__(name, import_name, url_prefix=url_prefix)
        self._options = options
        if any(_VARIABLE in option for option in options.values()):
            self.url_value_preprocessor(_drop_host)
            self.url_defaults(_add_host)

    def add_url_rule(self, rule: str, *args: Any, **options: Any) -> None:
        """Add a rule, with the options for its host."""
        merged: dict[str, Any] = options | self._options
        super().add_url_rule(rule, *args, **merged)


def _drop_host(_: str | None, values: dict[str, Any] | None) -> None:
    if values is not None:
        values.pop(_VARIABLE, None)


def _add_host(_: str, values: dict[str, Any]) -> None:
    adapter = (request_ctx if has_request_context() else app_ctx).url_adapter
    if adapter is not None:
        matched = adapter.map.host_matching
        values[_VARIABLE] = adapter.server_name if matched else adapter.subdomain
