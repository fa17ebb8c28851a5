"""What a frozen encoder says about stills, and the two heads that read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vjepa_core.bench.camus import CLASSES, Stills
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.fewshot.fit import Fit, FitConfig, predict
from vjepa_core.fewshot.head import GRID_SIZE, Head, HeadConfig
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.preprocessing import INPUT_SIZE, Letterbox
from vjepa_core.pretraining.encode import encode, patchify

N_OUTPUTS = 1 + len(CLASSES)
_ENCODED = 16  # stills at once


@torch.inference_mode()
def features(
    encoder: VisionTransformer3D,
    images: NDArray[np.uint8],
    *,
    frames: int = 2,
    size: int = 224,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Tokens of stills, each shown as a clip that stands still.

    Parameters
    ----------
    encoder : VisionTransformer3D
        On any device.
    images : array
        (N, H, W) uint8, square.
    frames : int
        Length of the clip; the tokens are averaged over its time.
    size : int
        Side, in pixels, at which the encoder sees them.

    Returns
    -------
    Tensor
        (N, L, h, w, D) float16 on the CPU, the four depths of the encoder.
    """
    device = next(encoder.parameters()).device
    tubelet, patch = encoder.tubelet_size, encoder.patch_size
    out = []
    for start in range(0, len(images), _ENCODED):
        part = images[start : start + _ENCODED]
        if part.shape[1:] != (size, size):
            part = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in part])
        clips = torch.from_numpy(part).to(device)[:, None].expand(-1, frames, -1, -1)
        tubelets, grid = patchify(clips, tubelet, patch)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            levels = encode(encoder, tubelets, grid, depths=encoder.depths)
        grids = [level.float().unflatten(1, grid).mean(1) for level in levels]
        out.append(torch.stack(grids, 1).half().cpu())
        if on_progress is not None:
            on_progress(min(start + _ENCODED, len(images)), len(images))
    return torch.cat(out)


class LinearHead(nn.Module):
    """One 1x1 convolution over the last tokens, then bilinear interpolation: the encoder does the work."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim, affine=False)
        self.proj = nn.Conv2d(dim, N_OUTPUTS, 1)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Logits (B, K, side, side) of tokens (B, h, w, D)."""
        logits = self.proj(self.norm(tokens.permute(0, 3, 1, 2)))
        return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


class ConvHead(nn.Module):
    """One 3x3 convolution of 64 channels before the 1x1 one: it sees the neighbours of a token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim, affine=False)
        self.near = nn.Conv2d(dim, 64, 3, padding=1)
        self.proj = nn.Conv2d(64, N_OUTPUTS, 1)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Logits (B, K, side, side) of tokens (B, h, w, D)."""
        logits = self.proj(functional.gelu(self.near(self.norm(tokens.permute(0, 3, 1, 2)))))
        return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


H = TypeVar("H", bound=LinearHead | ConvHead)


def fit_on_tokens(
    kind: Callable[[int], H], tokens: Tensor, masks: NDArray[np.uint8], *, seed: int, steps: int = 400
) -> H:
    """Train a head (AdamW, cosine to 0, cross-entropy at a quarter of the pictures' resolution).

    Parameters
    ----------
    kind : callable
        `LinearHead` or `ConvHead`.
    tokens : Tensor
        (N, h, w, D).
    masks : array
        (N, H, W) uint8.
    seed, steps : int
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = kind(tokens.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(head.parameters(), lr=5e-3, weight_decay=1e-3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    targets = torch.from_numpy(np.ascontiguousarray(masks[:, 2::4, 2::4])).long()
    for _ in range(steps):
        rows = torch.randint(len(tokens), (32,), generator=generator)
        logits = head(tokens[rows].float(), targets.shape[-1])
        adam.zero_grad()
        functional.cross_entropy(logits, targets[rows]).backward()
        adam.step()
        fall.step()
    head.eval()
    return head


@torch.inference_mode()
def predict_on_tokens(head: LinearHead | ConvHead, tokens: Tensor, side: int) -> NDArray[np.uint8]:
    """Label images (N, side, side) uint8."""
    parts = [head(part.float(), side).argmax(1).to(torch.uint8) for part in tokens.split(32)]
    return torch.cat(parts).numpy()


def as_studies(
    images: NDArray[np.uint8], tokens: Tensor, masks: NDArray[np.uint8] | None = None
) -> list[PreparedCine]:
    """Stills as cines of one frame, as the program's head reads them; with `masks`, annotated."""
    box = Letterbox.fit(images.shape[1], images.shape[2], INPUT_SIZE)
    boxed, studies = box.apply(images), []
    for i in range(len(images)):
        features = CineFeatures(tokens[i][:, None], torch.zeros(1, dtype=torch.float64))
        study = PreparedCine(
            i, box, boxed[i : i + 1], features, Motion(boxed[i : i + 1], grid_size=GRID_SIZE)
        )
        if masks is not None:
            study.labels = {0: frame_label(masks[i], box, tuple(CLASSES))}
        studies.append(study)
    return studies


def fit_default(stills: Stills, tokens: Tensor, *, seed: int, steps: int, batch: int = 8) -> Head:
    """Train the program's own head on stills: no motion, and so no carried label.

    Parameters
    ----------
    stills : Stills
    tokens : Tensor
        (N, L, h, w, D), their features.
    seed, steps, batch : int
        Of the fit; the rest is as in the program.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = HeadConfig(tuple(CLASSES), "frozen", "", tokens.shape[-1], tokens.shape[1])
        head = Head(shape)
        config = FitConfig(
            steps=steps,
            batch=batch,
            carried_share=0.0,
            prior_dropout=1.0,
            prior_dropout_many=1.0,
            both_from=len(tokens) + 1,  # the encoder is on trial, not a net that does without
            seed=seed,
        )
        fit = Fit(head, as_studies(stills.images, tokens, stills.masks), config, warm=False)
        while not fit.done:
            fit.step()
    return fit.averaged


def predict_default(head: Head, images: NDArray[np.uint8], tokens: Tensor) -> NDArray[np.uint8]:
    """Label images (N, H, W) uint8."""
    answers: Sequence[Tensor] = [predict(head, study, [0]) for study in as_studies(images, tokens)]
    grown = [
        functional.interpolate(answer, images.shape[1:], mode="bilinear", align_corners=False).argmax(1)
        for answer in answers
    ]
    return torch.cat(grown).to(torch.uint8).numpy()
