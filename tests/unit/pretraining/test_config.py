"""Configuration files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vjepa_core.pretraining.config import (
    PretrainConfig,
    as_dict,
    continued_config,
    read_config,
    small_config,
    with_values,
)
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.localisation import LocalisationConfig


def test_a_configuration_can_be_stored_as_json(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(as_dict(small_config())))
    assert read_config(file, PretrainConfig()) == small_config()


def test_toml_changes_the_given_fields(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        "steps = 7\nfps = 20\n[loc]\npeak = 0.5\n[localisation]\nvariant = 'signed'\n"
        "[[masks]]\nblocks = 3\nscale = 0.2\n"
    )
    config = read_config(file, small_config())
    assert (config.steps, config.fps, config.loc.peak, config.loc.rise) == (7, 20.0, 0.5, 0.1)
    assert config.localisation.variant == "signed"
    assert [(m.blocks, m.aspect) for m in config.masks] == [(3, (0.75, 1.5))]
    assert config.architecture == small_config().architecture


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"stpes": 3}, "stpes"),
        ({"steps": "many"}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"loc": 3}, "loc must be a table"),
        ({"localisation": {"where": "elsewhere"}}, "one of inside"),
        ({"localisation": {"place": 1}}, "localisation.place"),
        ({"loc": {"peak": -1.0}}, "peak"),
        ({"frames": 15}, "multiple of 2"),
        ({"size": 100}, "multiple of 16"),
        ({"batch": 0}, "1 or more"),
        ({"predictor": {"width": 100, "heads": 3}}, "heads"),
        ({"optimiser": {"ema": 1.2}}, "ema"),
        ({"optimiser": {"betas": [0.9]}}, "betas"),
        ({"localisation": {"pairing": "same-cell", "where": "inside"}}, 'where "windows"'),
        ({"localisation": {"unrelated_targets": True, "pool": 2}}, "pool 1"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], word: str) -> None:
    with pytest.raises(PretrainingError, match=word):
        with_values(small_config(), values)


@pytest.mark.parametrize("text", ["steps = ", "\x00"])
def test_an_unreadable_file_gives_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(PretrainingError, match="cannot be read"):
        read_config(file, small_config())
    with pytest.raises(PretrainingError, match="cannot be read"):
        read_config(tmp_path / "none.toml", small_config())


def test_continued_training_uses_a_small_learning_rate_and_all_terms() -> None:
    for base in (PretrainConfig(), small_config()):
        config = continued_config(base)
        assert config.size == 224
        assert config.optimiser.lr < base.optimiser.lr
        assert min(config.jepa.peak, config.loc.peak, config.ctx.peak, config.truth.peak) > 0
        assert (config.batch, config.frames, config.architecture) == (
            base.batch,
            base.frames,
            base.architecture,
        )


def test_a_configuration_of_an_older_version_keeps_its_meaning() -> None:
    stored = as_dict(PretrainConfig())
    for name in ("pairing", "unrelated_targets", "vary_windows", "ask_time_of_stills"):
        del stored["localisation"][name]
    del stored["predictor"]["added_positions"]
    for mask in stored["masks"]:
        del mask["min_visible"]
    stored["optimiser"] |= {"ema": 0.998, "ema_end": 1.0}
    config = with_values(PretrainConfig(), stored)
    assert config.localisation == LocalisationConfig()
    assert (config.localisation.pairing, config.localisation.ask_time_of_stills) == ("any", True)
    assert [mask.min_visible for mask in config.masks] == [0, 0]
    assert config.optimiser.ema == 0.998
