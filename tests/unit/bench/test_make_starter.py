"""The fit of the image net, which creates the bundled heads."""

from __future__ import annotations

import numpy as np
import torch

from vjepa_core.bench.frozen_features import as_prepared_cines
from vjepa_core.bench.make_starter import ImageNetFit
from vjepa_core.bench.representation import phantom_stills
from vjepa_core.fewshot.fit import FitConfig, predict
from vjepa_core.fewshot.head import Head, HeadConfig


def test_only_the_image_net_is_fitted_and_in_use() -> None:
    stills = phantom_stills(2, 224)
    cines = as_prepared_cines(stills.images, torch.zeros(2, 2, 14, 14, 8), stills.masks)
    torch.manual_seed(0)
    head = Head(HeadConfig((1, 2, 3), "none", "", 8, 2))
    others = [p.clone() for p in head.feature_net.parameters()]
    config = FitConfig(steps=12, batch=2, carried_share=0.0, prior_dropout=1.0, prior_dropout_many=1.0)
    fit = ImageNetFit(head, cines, config)
    losses = [fit.step() for _ in range(12)]
    assert fit.done
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < losses[0]
    assert fit.averaged.in_use.tolist() == [False, True]
    for before, after in zip(others, fit.averaged.feature_net.parameters(), strict=True):
        assert torch.equal(before, after)
    assert predict(fit.averaged, cines[0], [0]).shape == (1, 4, 112, 112)
