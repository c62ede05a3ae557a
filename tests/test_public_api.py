"""The public API is the contract: a change of it is made on purpose."""

from pathlib import Path

from tests.public_api import described

LIST = Path(__file__).parent / "public_api.txt"


def test_the_public_api_is_as_listed() -> None:
    """A change here is a change for users: write it to the list and the changelog.

    ``python -m tests.public_api`` writes the list.
    """
    assert list(described()) == LIST.read_text().splitlines()
