"""Probes on frozen encoders, with separate cines for training and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.bench.plots import curves, smooth
from app.domain.errors import ApicalError
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.localisation import clips_by_cine, probe_rows
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.pretraining.config import small_config, with_values
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.pack import RawCine, pack_cines

CONFIG = with_values(small_config(), {"frames": 4, "size": 64})


def _packed(folder: Path, lengths: list[int]) -> Path:
    random = np.random.default_rng(0)  # each cine has a different brightness
    cines = [
        RawCine(
            f"echo-{i}", (30 * i + random.integers(30, 60, (length, 64, 64))).astype(np.uint8), 30.0, "echo"
        )
        for i, length in enumerate(lengths)
    ]
    pack_cines(cines, folder, size=64)
    return folder


def test_clips_are_grouped_by_cine_and_short_cines_are_skipped(tmp_path: Path) -> None:
    clips = clips_by_cine([_packed(tmp_path / "p", [12, 12, 3, 12, 12])], CONFIG, each=2)
    assert clips.shape == (8, 4, 64, 64)
    levels = clips.float().mean((1, 2, 3))
    assert (levels[::2] - levels[1::2]).abs().max() < 5  # two clips of one cine
    assert (levels[::2].sort().values.diff() > 15).all()  # clips of different cines


def test_too_few_cines_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="too few"):
        clips_by_cine([_packed(tmp_path / "p", [12, 3])], CONFIG)


def test_one_row_for_every_encoder_and_seed(tmp_path: Path) -> None:
    encoder = create_encoder("vit_tiny_patch16_224_t2")
    initialise(encoder, 0)
    clips = clips_by_cine([_packed(tmp_path / "p", [8] * 6)], CONFIG, each=1)
    rows = probe_rows([("mine", encoder.eval())], clips, LocalisationConfig(), seeds=(0, 1), steps=2)
    assert [row["seed"] for row in rows] == [0, 1]
    assert all(0 < row["chance"] < 1 and row["loss"] > 0 for row in rows)


def test_a_plot_is_written_and_a_bad_path_is_rejected(tmp_path: Path) -> None:
    lines = {"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}
    curves(tmp_path / "a.png", lines, {"level": (1.5, 0.1)}, x="step", y="loss", title="A run")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ApicalError, match="cannot be written"):
        curves(tmp_path / "none" / "a.png", lines, {}, x="", y="", title="")
    assert smooth([4.0, 2.0, 0.0], 2) == [4.0, 3.0, 1.0]
