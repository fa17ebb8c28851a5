"""Phantom clips in a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vjepa_core.pretraining.config import small
from vjepa_core.pretraining.errors import PretrainingError


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_run_needs_a_sensible_share_of_phantom_clips(share: float) -> None:
    with pytest.raises(PretrainingError, match="phantom"):
        replace(small(), phantom=share)
