"""Accuracy of the shipped draft on patients of CAMUS that it was not fitted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bench.measure import camus_draft
from vjepa_core.bench.camus_hearts import load_hearts
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.starter import load_starter


@pytest.mark.slow
def test_the_ejection_fraction_of_drafts_and_its_intervals(data_dir: Path) -> None:
    hearts = load_hearts(data_dir / "camus" / "camus_trainval_224.npz")
    device = inference_device()
    encoder, card = load_encoder(device=device, matrices=inference_dtype(device))
    starter = load_starter(card)
    assert starter is not None
    group = camus_draft(hearts, EncodedStills(encoder, card), starter, keep=None, on_progress=lambda *_: None)
    rows = {row["what"]: row for row in group.rows}
    biplane = rows["camus draft biplane ef"]
    assert biplane["n"] == len(hearts.stills)
    assert abs(biplane["bias"]) < 2
    assert biplane["mae"] < 5.5
    assert biplane["r"] > 0.88
    assert rows["camus draft A4C ef"]["mae"] < 7
    for quantity in ("biplane ef", "biplane edv", "biplane esv", "A4C ef", "A2C ef"):
        assert 0.85 <= rows[f"camus draft {quantity}"]["coverage"] <= 0.97
