"""Phantom clips in a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vjepa_core.pretraining.config import small_config
from vjepa_core.pretraining.errors import PretrainingError


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_an_invalid_fraction_of_phantom_clips_is_rejected(share: float) -> None:
    with pytest.raises(PretrainingError, match="phantom"):
        replace(small_config(), phantom=share)
