"""Does the localisation task leak? What an MLP learns of it over an encoder that is frozen.

If it already answers over an encoder that was never trained on the task, the task teaches nothing. Run it on
clips with content and, as a control, on noise, in which nothing but position can be read.
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
    chance_loss,
    draw_windows,
)
from vjepa_core.pretraining.masks import LONG_RANGE, MaskSampler


@dataclass(frozen=True)
class Probed:
    """Result of `position_probe`.

    Attributes
    ----------
    loss : float
        Localisation loss on clips that the MLP never saw.
    chance : float
        Loss of the best constant answer on the same pairs.
    """

    loss: float
    chance: float

    @property
    def solved(self) -> float:
        """Share of the chance level that is gone: 0 nothing is known, 1 the task is solved."""
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
) -> Probed:
    """Train the localisation MLP alone.

    Parameters
    ----------
    encoder : VisionTransformer3D
        Left as it is.
    clips : Tensor
        (N, T, H, W) uint8 on the encoder's device; the last ones are held out, so keep those of one cine
        together.
    config : LocalisationConfig, optional
        The task, with `where` as it is to be measured.
    held_out : float
        Share of clips for the loss that is reported.
    views : int
        Masks, or pairs of windows, a clip, encoded once before the MLP is trained.
    steps, lr, batch, seed
        Of that training (Adam, cosine to 0, `batch` views a step).

    Raises
    ------
    ValueError
        If a side of the split would be empty.
    """
    config = config or LocalisationConfig()
    known = len(clips) - max(1, round(held_out * len(clips)))
    if known < 1:
        raise ValueError(f"{len(clips)} clips cannot be split into known and held-out ones")
    generator = torch.Generator(clips.device).manual_seed(seed)
    views_of = _Views(encoder, config, generator)
    train, test = views_of(clips[:known], views), views_of(clips[known:], views)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        localiser = Localiser(encoder.embed_dim, views_of.grid, config).to(clips.device)
    adam = torch.optim.Adam(localiser.parameters(), lr=lr)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)

    def uniform(n: int) -> Tensor:
        return torch.rand((n, config.pairs, 2), generator=generator, device=clips.device)

    for _ in range(steps):
        rows = torch.randint(len(train[0].numbers), (batch,), generator=generator, device=clips.device)
        first, second = (Side(side.tokens[rows], side.numbers[rows]) for side in train)
        adam.zero_grad()
        localiser(first, second, uniform(batch)).backward()
        adam.step()
        fall.step()
    pairs = uniform(len(test[0].numbers))
    with torch.no_grad():
        loss = float(localiser(test[0], test[1], pairs))
    return Probed(loss, chance_loss(localiser, test[0].numbers, test[1].numbers, pairs))


class _Views:
    """Encodes clips as the task would see them."""

    def __init__(
        self, encoder: VisionTransformer3D, config: LocalisationConfig, generator: torch.Generator
    ) -> None:
        self.encoder, self.config, self.generator = encoder, config, generator
        self.grid = (1, 1, 1)

    @torch.no_grad()
    def __call__(self, clips: Tensor, views: int) -> tuple[Side, Side]:
        made = [self._once(chunk) for _ in range(views) for chunk in clips.split(16)]
        first, second = (
            Side(torch.cat([s.tokens for s in sides]), torch.cat([s.numbers for s in sides]))
            for sides in zip(*made, strict=True)
        )
        return first, second

    def _once(self, clips: Tensor) -> tuple[Side, Side]:
        tubelets, self.grid = patchify(clips, TUBELET, PATCH)
        if self.config.where == "windows":  # `vary_windows` is not applied: clips are measured as they are
            keeps: tuple[Tensor, ...] = draw_windows(self.grid, len(clips), self.generator, self.config)
        else:
            keeps = (MaskSampler(self.grid, [LONG_RANGE])(len(clips), self.generator)[0].context,)
        placed = self.config.where != "unplaced"
        last = (len(self.encoder.blocks) - 1,)
        sides = [
            Side(encode(self.encoder, tubelets, self.grid, keep=k, depths=last, placed=placed)[0], k)
            for k in keeps
        ]
        return sides[0], sides[-1]
