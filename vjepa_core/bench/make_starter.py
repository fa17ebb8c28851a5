"""Fit the head that ships to the training patients of CAMUS and to phantoms; tell its Dice on the others.

``python -m vjepa_core.bench.make_starter CAMUS.npz OUT.safetensors [STEPS]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from vjepa_core.bench.camus import CLASSES, dice, load_camus
from vjepa_core.bench.frozen import as_studies, features, predict_default
from vjepa_core.bench.representation import phantom_stills
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import GRID_SIZE, Head, HeadConfig
from vjepa_core.fewshot.plausible import Shapes
from vjepa_core.fewshot.starter import Starter, save_starter
from vjepa_core.preprocessing import INPUT_SIZE

PHANTOMS = 600
STEPS = 3000
TOLD_EVERY = 500


def make(camus: Path, out: Path, steps: int = STEPS) -> dict[str, float]:
    """Fit, write the starter, and return its Dice on the patients that it has not seen.

    Half of the time and more it has to do without a carried label, as on a cine that nobody has outlined
    yet; else it gets the label itself, deformed, so that it knows what to do with one.
    """
    train, scored = load_camus(camus)
    device = inference_device()
    encoder, card = load_encoder(device=device, matrices=inference_dtype(device))
    made = phantom_stills(PHANTOMS, INPUT_SIZE, seed=5)
    tokens = torch.cat([features(encoder, stills.images) for stills in (train, made)])
    seen = features(encoder, scored.images)
    studies = as_studies(
        np.concatenate([train.images, made.images]), tokens, np.concatenate([train.masks, made.masks])
    )
    torch.manual_seed(0)
    head = Head(HeadConfig(tuple(CLASSES), card.name, card.checksum, tokens.shape[-1], tokens.shape[1]))
    config = FitConfig(
        steps=steps,
        batch=8,
        learning_rate=3e-3,
        ema=0.995,
        carried_share=0.0,
        prior_dropout=0.6,
        prior_dropout_many=0.6,
        wobble=0.03,
    )
    fit = Fit(head, studies, config, warm=False)
    small = [cv2.resize(m, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST) for m in train.masks]
    shapes = Shapes.of(np.stack(small))
    figures: dict[str, float] = {}
    while not fit.done:
        loss = fit.step()
        if fit.done_steps % TOLD_EVERY == 0 or fit.done:
            figures = dice(predict_default(fit.averaged, scored.images, seen), scored.masks)
            told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            sys.stderr.write(f"step {fit.done_steps}, loss {loss:.3f}, Dice {told}\n")
    save_starter(Starter(fit.averaged, shapes), out)
    return figures


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
