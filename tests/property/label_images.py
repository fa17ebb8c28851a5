"""Strategies for label images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.domain.cine import Frame


def label_images(
    *shape: st.SearchStrategy[int] | int, values: Sequence[int] = (0, 1, 2, 3, 255)
) -> st.SearchStrategy[Frame]:
    """Return a strategy for label images (height, width), or stacks of them, uint8."""
    sides = [st.just(side) if isinstance(side, int) else side for side in shape]
    return st.tuples(*sides).flatmap(
        lambda drawn: hnp.arrays(np.uint8, drawn, elements=st.sampled_from(values), fill=st.just(0))
    )
