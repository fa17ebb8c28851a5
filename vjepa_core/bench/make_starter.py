"""Fit a head that ships, to the training patients of CAMUS and to phantoms or to phantoms alone.

``python -m vjepa_core.bench.make_starter CAMUS.npz OUT.safetensors [--phantom-only] [--steps N]``
tells its Dice on the validation patients. The one fitted to phantoms alone has seen no human label: from it
the program's head starts where it is compared with others on few patients of CAMUS.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from vjepa_core.bench.camus import CLASSES, Stills, dice, load_camus
from vjepa_core.bench.frozen import as_studies, features, predict_default
from vjepa_core.bench.representation import phantom_stills
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import GRID_SIZE, Head, HeadConfig
from vjepa_core.fewshot.plausible import Shapes
from vjepa_core.fewshot.starter import Starter, save_starter
from vjepa_core.preprocessing import INPUT_SIZE

TOLD_EVERY = 500


def make(camus: Path, out: Path, *, phantom_only: bool, steps: int) -> dict[str, float]:
    """Fit, write the starter, and return its Dice on the patients that it has not seen.

    More than half of the time it has to do without a carried label, as on a cine that nobody has outlined
    yet; else it gets the label itself, deformed, so that it knows what to do with one.
    """
    train, scored = load_camus(camus)
    made = phantom_stills(1500 if phantom_only else 600, INPUT_SIZE, seed=5)
    sets: list[Stills] = [made] if phantom_only else [train, made]
    device = inference_device()
    encoder, card = load_encoder(device=device, matrices=inference_dtype(device))
    tokens = torch.cat([features(encoder, stills.images) for stills in sets])
    seen = features(encoder, scored.images)
    masks = np.concatenate([stills.masks for stills in sets])
    studies = as_studies(np.concatenate([stills.images for stills in sets]), tokens, masks)
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
    small = [
        cv2.resize(mask, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST) for mask in sets[0].masks
    ]
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
    parser = argparse.ArgumentParser(description="Fit a head that ships.")
    parser.add_argument("camus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phantom-only", action="store_true")
    parser.add_argument("--steps", type=int, default=3000)
    asked = parser.parse_args()
    make(asked.camus, asked.out, phantom_only=asked.phantom_only, steps=asked.steps)
