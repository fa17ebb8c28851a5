"""Counted operations against torch's counter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.pretraining.runs import clips, tiny
from vjepa_core.bench.flops import clip_flops
from vjepa_core.bench.full_token_peer import every_token_config, use_every_token
from vjepa_core.encoder.models import create_encoder
from vjepa_core.pretraining.build import build_objective
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.ema import create_teacher
from vjepa_core.pretraining.masks import Masks
from vjepa_core.pretraining.objective import Batch, weighted_sum

BATCH = 2


def _counted(config: PretrainConfig, *, every_token: bool = False) -> float:
    """Count the operations per clip of a forward and a backward pass, without executing them."""
    with torch.device("meta"):
        student = create_encoder(config.architecture)
    objective = build_objective(student, config)
    if every_token:
        use_every_token(objective)
    images = clips(BATCH)
    length = (config.truth_frames or (config.frames,))[0]
    truth_clips = images.flatten(0, 1).unflatten(0, (-1, length)).to("meta")
    labelled = (truth_clips, truth_clips) if objective.truth is not None else ()
    drawn = objective.draw(images, torch.Generator())
    masks = [Masks(m.context.to("meta"), m.target.to("meta")) for m in drawn.masks]
    windows = tuple(window.to("meta") for window in drawn.windows)
    share = len(labelled[0]) / BATCH if labelled else 0.0
    draw = Batch(images.to("meta"), masks, windows, drawn.pairs.to("meta"), labelled, share)
    objective.to("meta")
    # Torch's counter does not know the attention kernel of CPUs, but the plain form.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        targets, _ = objective.targets(create_teacher(student), draw.clips)
        weighted_sum(objective(draw, targets), dict.fromkeys(objective.terms, 1.0)).backward()
    return counter.get_total_flops() / BATCH


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"deep": True, "ctx": {"peak": 0.5}, "pixels": {"peak": 1.0}, "loc": {"peak": 0.0}},
        {"localisation": {"where": "inside", "variant": "axis_ce"}},
        {"localisation": {"where": "unplaced"}, "truth": {"peak": 1.0}, "truth_share": 1.0},
        {"truth": {"peak": 1.0}, "truth_share": 1.0, "truth_frames": [2]},
    ],
)
def test_operations_equal_those_counted_by_torch(values: dict[str, Any]) -> None:
    config = tiny(**values)
    assert clip_flops(config).total == pytest.approx(_counted(config), rel=0.02)


def test_operations_of_the_loop_that_drops_no_token_equal_those_counted_by_torch() -> None:
    config = every_token_config(tiny())
    assert clip_flops(config, every_token=True).total == pytest.approx(
        _counted(config, every_token=True), rel=0.02
    )


def test_the_real_size_needs_no_weights() -> None:
    """ViT-S at 224 px: one forward pass of the teacher is 12 blocks on 1568 tokens."""
    flops = clip_flops(PretrainConfig())
    blocks = 12 * 1568 * (24 * 384**2 + 4 * 1568 * 384)
    assert flops.teacher == blocks + 1568 * 2 * 512 * 384
    assert flops.total == sum(flops.parts().values())
    assert flops.truth == 0
