"""Features of still images from a frozen encoder, and heads on these features."""

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
from vjepa_core.fewshot.enclosed_atrium import relabel_enclosed_atrium
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.fewshot.fit import Fit, FitConfig, predict
from vjepa_core.fewshot.head import GRID_SIZE, Head, HeadConfig
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.letterbox import INPUT_SIZE, Letterbox
from vjepa_core.pretraining.encode import encode, patchify

N_OUTPUTS = 1 + len(CLASSES)
_BATCH = 16  # images encoded together


@torch.inference_mode()
def features(
    encoder: VisionTransformer3D,
    images: NDArray[np.uint8],
    *,
    frames: int = 2,
    size: int = 224,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Compute the tokens of still images, each repeated as a static clip.

    Parameters
    ----------
    encoder : VisionTransformer3D
        The encoder, on any device.
    images : ndarray of uint8
        Square images, shape (N, H, W).
    frames : int
        Length of the clip; tokens are averaged over time.
    size : int
        Side of the encoder's input in pixels.
    on_progress : callable, optional
        Called with (done, total).

    Returns
    -------
    Tensor
        Tokens at the L depths of the encoder, shape (N, L, h, w, D), float16 on the CPU.
    """
    device = next(encoder.parameters()).device
    tubelet, patch = encoder.tubelet_size, encoder.patch_size
    out = []
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        if part.shape[1:] != (size, size):
            part = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in part])
        clips = torch.from_numpy(part).to(device)[:, None].expand(-1, frames, -1, -1)
        tubelets, grid = patchify(clips, tubelet, patch)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            levels = encode(encoder, tubelets, grid, depths=encoder.depths)
        grids = [level.float().unflatten(1, grid).mean(1) for level in levels]
        out.append(torch.stack(grids, 1).half().cpu())
        if on_progress is not None:
            on_progress(min(start + _BATCH, len(images)), len(images))
    return torch.cat(out)


class LinearHead(nn.Module):
    """Head that consists of a 1x1 convolution on the last tokens and bilinear interpolation."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim, affine=False)
        self.proj = nn.Conv2d(dim, N_OUTPUTS, 1)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Compute logits (B, K, side, side) from tokens (B, h, w, D)."""
        logits = self.proj(self.norm(tokens.permute(0, 3, 1, 2)))
        return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


class ConvHead(nn.Module):
    """Head with a 3x3 convolution of 64 channels before the 1x1 convolution."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim, affine=False)
        self.near = nn.Conv2d(dim, 64, 3, padding=1)
        self.proj = nn.Conv2d(64, N_OUTPUTS, 1)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Compute logits (B, K, side, side) from tokens (B, h, w, D)."""
        logits = self.proj(functional.gelu(self.near(self.norm(tokens.permute(0, 3, 1, 2)))))
        return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


H = TypeVar("H", bound=LinearHead | ConvHead)


def fit_on_tokens(
    kind: Callable[[int], H], tokens: Tensor, masks: NDArray[np.uint8], *, seed: int, steps: int = 400
) -> H:
    """Train a head (AdamW, cosine schedule, cross-entropy at a quarter of the image resolution).

    Parameters
    ----------
    kind : callable
        `LinearHead` or `ConvHead`.
    tokens : Tensor
        Tokens, shape (N, h, w, D).
    masks : ndarray of uint8
        Label images, shape (N, H, W).
    seed, steps : int
        Seed and number of steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = kind(tokens.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(head.parameters(), lr=5e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    targets = torch.from_numpy(np.ascontiguousarray(masks[:, 2::4, 2::4])).long()
    for _ in range(steps):
        rows = torch.randint(len(tokens), (32,), generator=generator)
        logits = head(tokens[rows].float(), targets.shape[-1])
        adam.zero_grad()
        functional.cross_entropy(logits, targets[rows]).backward()
        adam.step()
        scheduler.step()
    head.eval()
    return head


@torch.inference_mode()
def predict_on_tokens(head: LinearHead | ConvHead, tokens: Tensor, side: int) -> NDArray[np.uint8]:
    """Predict label images (N, side, side) uint8."""
    parts = [head(part.float(), side).argmax(1).to(torch.uint8) for part in tokens.split(32)]
    return torch.cat(parts).numpy()


def as_prepared_cines(
    images: NDArray[np.uint8], tokens: Tensor, masks: NDArray[np.uint8] | None = None
) -> list[PreparedCine]:
    """Convert still images to cines of one frame for the program's head; with `masks`, annotated."""
    box = Letterbox.for_image(images.shape[1], images.shape[2], INPUT_SIZE)
    boxed, prepared_cines = box.apply(images), []
    for i in range(len(images)):
        features = CineFeatures(tokens[i][:, None], torch.zeros(1, dtype=torch.float64))
        prepared = PreparedCine(
            i, box, boxed[i : i + 1], features, Motion(boxed[i : i + 1], grid_size=GRID_SIZE)
        )
        if masks is not None:
            prepared.labels = {0: frame_label(masks[i], box, tuple(CLASSES))}
        prepared_cines.append(prepared)
    return prepared_cines


def fit_head(stills: Stills, tokens: Tensor, *, seed: int, steps: int, batch: int = 8) -> Head:
    """Train the program's head on still images, without motion and carried labels.

    Parameters
    ----------
    stills : Stills
        Labelled images.
    tokens : Tensor
        Their features, shape (N, L, h, w, D).
    seed, steps, batch : int
        Parameters of the fit; the others are those of the program.
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
            both_from=len(tokens) + 1,  # without the image net, because the encoder is evaluated
            seed=seed,
        )
        fit = Fit(head, as_prepared_cines(stills.images, tokens, stills.masks), config, warm=False)
        while not fit.done:
            fit.step()
    return fit.averaged


def predict_head(head: Head, images: NDArray[np.uint8], tokens: Tensor) -> NDArray[np.uint8]:
    """Predict label images (N, H, W) uint8."""
    predictions: Sequence[Tensor] = [
        relabel_enclosed_atrium(predict(head, prepared, [0]))
        for prepared in as_prepared_cines(images, tokens)
    ]
    upsampled = [
        functional.interpolate(prediction, images.shape[1:], mode="bilinear", align_corners=False).argmax(1)
        for prediction in predictions
    ]
    return torch.cat(upsampled).to(torch.uint8).numpy()
