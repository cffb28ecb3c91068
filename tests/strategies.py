"""Hypothesis strategies shared by several test files."""

from hypothesis import strategies as st

# Any JSON value, and NaN and infinities, which json.dumps writes too.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
