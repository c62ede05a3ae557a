"""Values that several targets use."""

from typing import Any

from hypothesis import strategies as st

#: Any JSON value, and values that Python accepts as JSON.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def mostly(
    usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Draw an odd value now and then: a wholly odd case would be refused too early."""
    return st.integers(0, 9).flatmap(lambda drawn: odd if drawn == 9 else usual)
