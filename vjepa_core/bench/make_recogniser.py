"""Fit the shipped recogniser of apical views: distances between views, and weights of evidence.

``python -m vjepa_core.bench.make_recogniser CAMUS.npz [VIDEO...]``

It uses training patients of CAMUS, phantoms, synthetic textures and other views, and videos without a heart
(every second one of those given). Validation patients are not used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, Stills, load_camus
from vjepa_core.bench.frozen_features import as_prepared_cines, features
from vjepa_core.bench.make_calibration import logistic
from vjepa_core.bench.scored_cines import phantom_cines
from vjepa_core.bench.synthetic_images import imitate_other_scanners, other_views, textures
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.applicability import cine_embedding, gather_evidence
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.recogniser import SHIPPED, Evidence, Recogniser, ViewSpace, evidence_features
from vjepa_core.fewshot.starter import load_starter
from vjepa_core.resources import resource_path

TAIL = 0.01
"""The limit is halfway between this quantile of the scores of apical views and the opposite quantile of
images without a heart."""

SAME_VIEW = 0.95
"""Fraction of pairs of cines of the same view within `Recogniser.reach`."""

_CLIP = 16
_FIRST_SEED = 5000  # first seed of phantoms that are not used by any benchmark


def fit_recogniser(
    embeddings: NDArray[np.float32],
    patients: NDArray[np.str_],
    *,
    apical: Sequence[Evidence],
    varied: Sequence[Evidence],
    others: Sequence[Evidence],
    without_heart: Sequence[Evidence],
) -> Recogniser:
    """Fit weights of the evidence and limits.

    Parameters
    ----------
    embeddings, patients : ndarray
        Embeddings (N, D) and patients (N,) of training images.
    apical, varied : sequence of Evidence
        Evidence of apical views, and of apical views with a changed appearance.
    others, without_heart : sequence of Evidence
        Evidence of other views, and of images without a heart. The limit is set without `others`, some of
        which resemble apical views, and without `varied`, some of which are not recognisable.
    """
    views = ViewSpace.of(embeddings)
    good = np.array([evidence_features(one) for one in (*apical, *varied)])
    bad = np.array([evidence_features(one) for one in (*others, *without_heart)])
    row_weights = np.r_[np.full(len(good), 0.5 / len(good)), np.full(len(bad), 0.5 / len(bad))]
    rows, truth = np.concatenate([good, bad]), np.r_[np.ones(len(good)), np.zeros(len(bad))]
    mean, scale = rows.mean(0), rows.std(0)
    line = logistic((rows - mean) / scale, truth, row_weights)
    weights = np.array(line.weights) / scale
    scores = [
        np.array([evidence_features(one) for one in group]) @ weights for group in (apical, without_heart)
    ]
    limit = 0.5 * (np.quantile(scores[0], TAIL) + np.quantile(scores[1], 1 - TAIL))
    return Recogniser(views, weights, -float(limit), _reach(views, embeddings, patients))


def _reach(views: ViewSpace, rows: NDArray[np.float32], patients: NDArray[np.str_]) -> float:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, len(rows), (4000, 2))
    apart = [views.between(rows[i], rows[j]) for i, j in pairs if patients[i] != patients[j]]
    return float(np.quantile(apart, SAME_VIEW))


def video_frames(path: Path, count: int = _CLIP) -> NDArray[np.uint8]:
    """Read the first frames (count, h, w) uint8 of a video as grey images.

    Raises
    ------
    BenchError
        If the video cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    frames: list[NDArray[np.uint8]] = []
    while len(frames) < count:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8))
    capture.release()
    if not frames:
        raise BenchError(f"The video {path} cannot be read: omit it.")
    return np.stack(frames)


def make(camus: Path, videos: Sequence[Path], out: Path) -> Recogniser:
    """Collect evidence, fit the recogniser and write its file."""
    encoder = load_encoder(device=(device := inference_device()), matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    if starter is None:
        raise BenchError(f"There is no starter head for {encoder[1].name}: create one with make_starter.")
    starter = replace(starter, recogniser=None)
    starter.head.to(device)
    train, _ = load_camus(camus)
    every = Stills(train.images[::2], train.masks[::2], train.patients[::2])
    tokens = features(encoder[0], every.images)
    rows = np.stack([cine_embedding(prepared) for prepared in as_prepared_cines(every.images, tokens)])
    views = ViewSpace.of(rows)

    def collect(what: str, prepared_cines: Iterator[PreparedCine]) -> list[Evidence]:
        evidence = []
        for prepared in prepared_cines:
            evidence.append(gather_evidence(starter.head, prepared, shapes=starter.shapes, views=views))
            sys.stderr.write(f"\r{what}: {len(evidence)}")
        sys.stderr.write("\n")
        return evidence

    varied = imitate_other_scanners(train.images[8::20], seed=3)
    apical = collect("apical stills", _stills(encoder, train.images[::16]))
    apical += collect("phantoms", _phantoms(encoder, 15))
    varied_found = collect("apical stills, varied", _stills(encoder, varied))
    others = collect(
        "other views", _stills(encoder, other_views(train.images[::4][::4], train.masks[::4][::4], seed=0)[0])
    )
    without_heart = collect("textures", _stills(encoder, textures(220, seed=100)[0][::4]))
    without_heart += collect("videos", _videos(encoder, videos[::2]))
    fitted = fit_recogniser(
        rows, every.patients, apical=apical, varied=varied_found, others=others, without_heart=without_heart
    )
    fitted.save(out, encoder[1].checksum)
    return fitted


def _stills(encoder: LoadedEncoder, images: NDArray[np.uint8]) -> Iterator[PreparedCine]:
    yield from as_prepared_cines(images, features(encoder[0], images))


def _phantoms(encoder: LoadedEncoder, n: int) -> Iterator[PreparedCine]:
    for cine in phantom_cines(n, frames=_CLIP, first=_FIRST_SEED):
        yield prepare_cine(0, cine.frames, *encoder, fps=cine.fps)


def _videos(encoder: LoadedEncoder, paths: Sequence[Path]) -> Iterator[PreparedCine]:
    for path in paths:
        yield prepare_cine(0, video_frames(path), *encoder, fps=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the shipped recogniser.")
    parser.add_argument("camus", type=Path)
    parser.add_argument("videos", type=Path, nargs="*", help="videos without a heart")
    parser.add_argument("--out", type=Path, default=resource_path("heads", SHIPPED))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    recogniser = make(arguments.camus, arguments.videos, arguments.out)
    sys.stderr.write(
        f"weights {recogniser.weights}, bias {recogniser.bias:.2f}, reach {recogniser.reach:.2f}\n"
    )
