"""Views that are recognised on clinical cines."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.commands.progress import Progress
from app.commands.recognised_view import recognise
from app.domain.views import View
from app.readers.open import open_cine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "view"), [("Image-43", View.A4C), ("Image-41", View.A2C), ("Image-20", None)]
)
def test_apical_views_are_recognised_and_a_short_axis_is_neither(
    data_dir: Path, name: str, view: View | None
) -> None:
    cine = open_cine(data_dir / "dicom" / f"mglev1n-echocv__{name}.dcm")
    try:
        answer = recognise(cine, Progress())
    finally:
        cine.source.close()
    assert answer is not None
    assert answer.view is view
