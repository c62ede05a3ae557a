"""What a test says when a program that it needs is not there."""

import os
from typing import NoReturn

import pytest


def absent(part: str, *, remedy: str) -> NoReturn:
    """Skip on a developer's machine, fail where ``CI`` is set.

    A continuous integration that skips would stay green for ever without the check.
    """
    reason = f"{part} is missing: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
