"""Changes of bytes and texts: parts are cut out, replaced or put in."""

from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import strategies as st

# Longer than any text that is changed here.
_ALL = 1000


class Edit(NamedTuple):
    """``length`` bytes at ``at``, modulo the length of the text, are replaced."""

    at: int
    length: int
    put: bytes

    def apply(self, to: bytes) -> bytes:
        at = self.at % (len(to) + 1)
        return to[:at] + self.put + to[at + self.length :]


def edited(whole: bytes, changes: Iterable[Edit]) -> bytes:
    """Return the bytes after all changes, one after another."""
    for change in changes:
        whole = change.apply(whole)
    return whole


_puts = st.one_of(
    st.just(b""),
    st.integers(0, 127).map(lambda code: bytes([code])),
    st.text(max_size=3).map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=3),
)

#: No change, or a few.
edits = st.lists(
    st.builds(Edit, st.integers(-_ALL, _ALL), st.sampled_from([0, 1, 2, _ALL]), _puts),
    max_size=3,
)
