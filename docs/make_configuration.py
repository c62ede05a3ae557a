"""Write docs/configuration.md from the code. Run this after changing a setting."""

from dataclasses import fields
from pathlib import Path

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

| key | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the text of docs/configuration.md."""
    return _HEAD + "".join(
        f"| `{PREFIX}{part.name.upper()}` | `{part.default!r}` |"
        f" {part.metadata['doc'].replace('``', '`')} |\n"
        for part in fields(Config)
    )


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(page())
