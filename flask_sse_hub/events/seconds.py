"""Numbers of seconds: the check for every argument and setting that is a duration."""

import math
from datetime import timedelta

#: A quarter of an hour. A heartbeat, a timeout or a reconnect delay above it is most
#: likely in milliseconds, as other packages take it: 15000 for 15 seconds.
LONGEST_SHORT = 900.0


def checked_seconds(
    value: object,
    *,
    what: str,
    above: float | None = None,
    least: float = 0.0,
    most: float = math.inf,
    error: type[Exception] = ValueError,
) -> float:
    """Return a number of seconds as a float.

    Args:
        value: The number as the caller gave it.
        what: The name of the value in the text of the error.
        above: The number must be greater than this one. If None, ``least`` applies.
        least: The smallest number allowed.
        most: The largest number allowed. Infinity is never allowed.
        error: The class of the error.

    Returns:
        The number as a float.

    Raises:
        error: The value is not a number, not finite, or out of its range.

    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = ": use its total_seconds()" if isinstance(value, timedelta) else ""
        raise error(
            f"{what} must be a number of seconds, not {type(value).__name__}{hint}"
        )
    # NaN is neither above nor below any number: every comparison refuses it.
    high_enough = value >= least if above is None else value > above
    if not high_enough or not value <= most or value == math.inf:
        raise error(f"{what} must be {_range(above, least, most)}")
    return float(value)


def _range(above: float | None, least: float, most: float) -> str:
    # The text leaves out the value: an int may have more digits than Python can print.
    if most == math.inf:
        return f"a finite number of seconds above {least if above is None else above:g}"
    if above is None:
        return f"between {least:g} and {most:.0f} seconds"
    return f"above {above:g} and at most {most:.0f} seconds"
