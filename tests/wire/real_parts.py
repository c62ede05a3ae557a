"""The answer of a test whose program or package is not installed."""

import os
from typing import NoReturn

import pytest


def absent(part: str, *, remedy: str) -> NoReturn:
    """Skip on a developer's machine, fail where ``CI`` is set.

    If a missing part skipped in CI too, CI would stay green without ever testing it.
    """
    reason = f"{part} is missing: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
