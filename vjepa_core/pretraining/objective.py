"""The loss of V-JEPA with 3D localisation, term by term.

    L = w_jepa L_jepa + w_loc L_loc + w_ctx L_ctx

`L_jepa`: mean L1 between the predictor's output at hidden places and the teacher's tokens after a LayerNorm
without weights, averaged over the kinds of mask (V-JEPA, Bardes et al. 2024). `L_ctx`: the same at the
visible places (after the dense context loss of V-JEPA 2.1, arXiv 2603.14482; one weight for all places is
ours). With `deep`, student and teacher are read after four depths, side by side (its deep supervision).
`L_loc`: see `localisation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, layer_norm

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.config import PATCH, TUBELET, PretrainConfig
from vjepa_core.pretraining.encode import encode, freeze_unused, patchify
from vjepa_core.pretraining.localisation import Localiser, Side, draw_windows
from vjepa_core.pretraining.masks import Masks, MaskSampler
from vjepa_core.pretraining.predictor import Predictor

TERMS = ("jepa", "loc", "ctx")


@dataclass(frozen=True, eq=False)
class Draw:
    """Everything random of one step; the first axis of every tensor is the batch.

    Attributes
    ----------
    clips : Tensor
        (B, T, H, W) uint8.
    masks : list of Masks
        One a kind.
    windows : tuple of Tensor
        Two (B, K) int64 lists of tokens, or none.
    pairs : Tensor
        (B, pairs, 2) uniform in [0, 1).
    """

    clips: Tensor
    masks: list[Masks]
    windows: tuple[Tensor, ...]
    pairs: Tensor

    def part(self, start: int, stop: int) -> Draw:
        """The clips from `start` to `stop`."""
        rows = slice(start, stop)
        masks = [Masks(m.context[rows], m.target[rows]) for m in self.masks]
        return Draw(self.clips[rows], masks, tuple(w[rows] for w in self.windows), self.pairs[rows])


class Objective(nn.Module):
    """Student, predictor and localiser: all that is trained.

    Parameters
    ----------
    student : VisionTransformer3D
        Changed in place: what this objective never reaches is frozen.
    config : PretrainConfig
    """

    def __init__(self, student: VisionTransformer3D, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = config.grid
        last = len(student.blocks) - 1
        self.depths: tuple[int, ...] = student.depths if config.deep else (last,)
        freeze_unused(student, self.depths)
        self.student = student
        levels = student.embed_dim * len(self.depths)
        size = config.predictor
        self.predictor = Predictor(
            levels,
            levels,
            width=size.width,
            depth=size.depth,
            heads=size.heads,
            grid=self.grid,
            kinds=len(config.masks),
        )
        self.terms = [name for name in TERMS if getattr(config, name).peak > 0]
        # A module whose weight stays 0 would only wait for gradients.
        self.localiser = (
            Localiser(student.embed_dim, self.grid, config.localisation) if "loc" in self.terms else None
        )
        self.sampler = MaskSampler(self.grid, config.masks, target_share=config.target_share)

    def draw(self, clips: Tensor, generator: torch.Generator) -> Draw:
        """Masks, windows and pairs for clips, on the generator's device."""
        n = len(clips)
        masks = self.sampler(n, generator)
        task = self.config.localisation
        windows: tuple[Tensor, ...] = ()
        if self.localiser is not None and task.where == "windows":
            windows = draw_windows(self.grid, n, generator, task)
        pairs = torch.rand((n, task.pairs, 2), generator=generator, device=generator.device)
        return Draw(clips, masks, windows, pairs)

    @torch.no_grad()
    def targets(self, teacher: VisionTransformer3D, clips: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be predicted (B, N, levels * D), and the teacher's last tokens (B, N, D) as they are."""
        tubelets, grid = patchify(clips, TUBELET, PATCH)
        levels = encode(teacher, tubelets, grid, depths=self.depths)
        plain = [layer_norm(level, level.shape[-1:]) for level in levels]
        return torch.cat(plain, -1), levels[-1]

    def forward(self, draw: Draw, targets: Tensor) -> dict[str, Tensor]:
        """Each term that has a weight, unweighted: scalars by name."""
        tubelets, grid = patchify(draw.clips, TUBELET, PATCH)
        hidden, visible, seen = [], [], []
        for kind, masks in enumerate(draw.masks):
            levels = encode(self.student, tubelets, grid, keep=masks.context, depths=self.depths)
            at_hidden, at_visible = self.predictor(torch.cat(levels, -1), masks, kind)
            hidden.append(l1_loss(at_hidden.float(), _rows(targets, masks.target).float()))
            if "ctx" in self.terms:
                visible.append(l1_loss(at_visible.float(), _rows(targets, masks.context).float()))
            seen.append(Side(levels[-1], masks.context))
        terms = {"jepa": torch.stack(hidden).mean()}
        if visible:
            terms["ctx"] = torch.stack(visible).mean()
        if self.localiser is not None:
            losses = [
                self.localiser(first, second, draw.pairs)
                for first, second in self._pairs(draw, tubelets, seen)
            ]
            terms["loc"] = torch.stack(losses).mean()
        return terms

    def _pairs(self, draw: Draw, tubelets: Tensor, seen: Sequence[Side]) -> list[tuple[Side, Side]]:
        """The two sides of the localisation pairs."""
        last = self.depths[-1:]
        where = self.config.localisation.where
        if where == "inside":
            return [(side, side) for side in seen]
        if where == "unplaced":
            keep = draw.masks[0].context
            tokens = encode(self.student, tubelets, self.grid, keep=keep, depths=last, placed=False)[0]
            return [(Side(tokens, keep), Side(tokens, keep))]
        sides = [
            Side(encode(self.student, tubelets, self.grid, keep=window, depths=last)[0], window)
            for window in draw.windows
        ]
        return [(sides[0], sides[1])]


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The loss that is minimised."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
