"""Scripts outside the project may still import `open_cine` from its former location."""

from __future__ import annotations

from app.dicom.open import open_cine as former
from app.readers.open import open_cine


def test_the_former_location_has_the_same_function() -> None:
    assert former is open_cine
