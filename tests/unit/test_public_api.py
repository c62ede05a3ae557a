"""The public API is the contract: a change of it is made on purpose."""

from pathlib import Path

from tests.kit import public_api

LIST = Path(public_api.__file__).with_suffix(".txt")


def test_the_public_api_is_as_listed() -> None:
    """A change here is a change for users: write it to the list and the changelog.

    ``python -m tests.kit.public_api`` writes the list.
    """
    assert list(public_api.described()) == LIST.read_text().splitlines()
