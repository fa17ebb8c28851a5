"""Measure position leaks of the localisation task, by training an MLP for it on a frozen encoder.

If the MLP solves the task on the features of an encoder that was never trained on it, the task is useless.
Run the probe on real clips and, as a control, on noise, which contains no information except positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.config import PATCH, TUBELET
from vjepa_core.pretraining.encode import encode, patchify
from vjepa_core.pretraining.localisation import (
    LocalisationConfig,
    Localiser,
    Side,
    constant_prediction_loss,
    draw_windows,
)
from vjepa_core.pretraining.masks import LONG_RANGE, MaskSampler


@dataclass(frozen=True)
class ProbeResult:
    """Result of `position_probe`.

    Attributes
    ----------
    loss : float
        Localisation loss on held-out clips.
    chance : float
        Loss of the best constant prediction on the same pairs.
    """

    loss: float
    chance: float

    @property
    def solved(self) -> float:
        """Relative reduction of the chance loss: 0 for chance level, 1 if the task is solved."""
        return 1 - self.loss / self.chance if self.chance else 0.0


def position_probe(
    encoder: VisionTransformer3D,
    clips: Tensor,
    config: LocalisationConfig | None = None,
    *,
    held_out: float = 0.25,
    views: int = 8,
    steps: int = 500,
    lr: float = 1e-3,
    batch: int = 16,
    seed: int = 0,
) -> ProbeResult:
    """Train the localisation MLP on the features of a frozen encoder.

    Parameters
    ----------
    encoder : VisionTransformer3D
        The encoder; not changed.
    clips : Tensor
        Shape (N, T, H, W), uint8, on the encoder's device. The last clips are held out, so clips of the same
        cine should be adjacent.
    config : LocalisationConfig, optional
        The task.
    held_out : float
        Fraction of the clips that is held out.
    views : int
        Masks or pairs of windows per clip; they are encoded once, before the MLP is trained.
    steps, lr, batch, seed
        Parameters of the training (Adam with cosine decay to 0, `batch` views per step).

    Returns
    -------
    ProbeResult
        Losses on the held-out clips.

    Raises
    ------
    ValueError
        If there are no clips for training.
    """
    config = config or LocalisationConfig()
    n_train = len(clips) - max(1, round(held_out * len(clips)))
    if n_train < 1:
        raise ValueError(f"{len(clips)} clips cannot be split into training and held-out clips")
    generator = torch.Generator(clips.device).manual_seed(seed)
    encode_views = _ViewEncoder(encoder, config, generator)
    train, test = encode_views(clips[:n_train], views), encode_views(clips[n_train:], views)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        localiser = Localiser(encoder.embed_dim, encode_views.grid, config).to(clips.device)
    adam = torch.optim.Adam(localiser.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)

    def uniform(n: int) -> Tensor:
        return torch.rand((n, config.pairs, 2), generator=generator, device=clips.device)

    for _ in range(steps):
        rows = torch.randint(len(train[0].numbers), (batch,), generator=generator, device=clips.device)
        first, second = (Side(side.tokens[rows], side.numbers[rows]) for side in train)
        adam.zero_grad()
        localiser(first, second, uniform(batch)).backward()
        adam.step()
        scheduler.step()
    pairs = uniform(len(test[0].numbers))
    with torch.no_grad():
        loss = float(localiser(test[0], test[1], pairs))
    return ProbeResult(loss, constant_prediction_loss(localiser, test[0].numbers, test[1].numbers, pairs))


class _ViewEncoder:
    """Encodes masked clips or windows as in the task."""

    def __init__(
        self, encoder: VisionTransformer3D, config: LocalisationConfig, generator: torch.Generator
    ) -> None:
        self.encoder, self.config, self.generator = encoder, config, generator
        self.grid = (1, 1, 1)

    @torch.no_grad()
    def __call__(self, clips: Tensor, views: int) -> tuple[Side, Side]:
        views_of_chunks = [self._encode(chunk) for _ in range(views) for chunk in clips.split(16)]
        first, second = (
            Side(torch.cat([s.tokens for s in sides]), torch.cat([s.numbers for s in sides]))
            for sides in zip(*views_of_chunks, strict=True)
        )
        return first, second

    def _encode(self, clips: Tensor) -> tuple[Side, Side]:
        tubelets, self.grid = patchify(clips, TUBELET, PATCH)
        if self.config.where == "windows":  # without the augmentation of `vary_windows`
            visible: tuple[Tensor, ...] = draw_windows(self.grid, len(clips), self.generator, self.config)
        else:
            visible = (MaskSampler(self.grid, [LONG_RANGE])(len(clips), self.generator)[0].context,)
        positions = self.config.where != "unplaced"
        last = (len(self.encoder.blocks) - 1,)
        sides = [
            Side(
                encode(self.encoder, tubelets, self.grid, keep=k, depths=last, with_positions=positions)[0], k
            )
            for k in visible
        ]
        return sides[0], sides[-1]
