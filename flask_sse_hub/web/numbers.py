"""Numbers as arguments of commands."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A finite number within bounds. click's own range lets nan pass every bound."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the number. Ends the command with its usage for any other value."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found
