"""Write docs/configuration.md from the code. Run this after changing a setting."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from flask_sse_hub.web.config import Config
from flask_sse_hub.web.setting_names import PREFIX

_HEAD = """# Configuration

Set these keys in the app's config before you call `init_app`, which reads and checks
each key once. Times are in seconds, sizes in bytes. An invalid value raises
`ConfigurationError` at start. A key causes a warning in the log if it is unknown, has
another prefix such as `SSEHUB_`, or is set after `init_app`.

To set keys by environment variables, call `app.config.from_prefixed_env()` before
`init_app`. Write each variable with the prefix `FLASK_`, and lists in JSON:

```sh
export FLASK_SSE_HUB_MAX_AGE=600
export FLASK_SSE_HUB_PUBLIC_CHANNELS='["news", "orders.*"]'
```
"""

#: The groups of the page, and the words with which the names of their keys begin. A key
#: belongs to the first group that has a beginning of its name.
_GROUPS = {
    "The log": ("broker_url", "name"),
    "Addresses": ("url_prefix", "host", "subdomain", "cors_"),
    "Logins and channels": (
        *("login_required", "resume_before_login", "public_", "revalidate_"),
        "max_channels",
    ),
    "History and state": ("history", "ttl", "state_", "memory_", "max_event_bytes"),
    "Life of a stream": (
        *("heartbeat_", "connection_", "retry", "max_age", "socket_", "compress_"),
    ),
    "Limits": ("max_clients", "connect_rate", "on_user_limit"),
    "Answers": ("answers_",),
    "Presence": ("presence",),
    "Publishing over HTTP": ("publish_",),
    "Operating": ("stats_", "console_", "metrics_"),
}


def page() -> str:
    """Return the text of docs/configuration.md."""
    groups: dict[str, list[Any]] = {name: [] for name in _GROUPS}
    for part in fields(Config):
        groups[_group_of(part.name)].append(part)
    return _HEAD + "".join(
        f"\n## {name}\n" + "".join(map(_section, parts))
        for name, parts in groups.items()
    )


def _group_of(name: str) -> str:
    for group, beginnings in _GROUPS.items():
        if name.startswith(beginnings):
            return group
    raise LookupError(f"the setting {name} has no group: add it to _GROUPS")


def _section(part: Any) -> str:
    text = part.metadata["doc"].replace("``", "`")
    return (
        f"\n### {PREFIX}{part.name.upper()}\n\n"
        f"Default: `{part.default!r}`\n\n{text[0].upper()}{text[1:]}.\n"
    ).replace("..\n", ".\n")


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(page())
