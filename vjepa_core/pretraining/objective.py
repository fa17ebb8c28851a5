"""The loss of V-JEPA with 3D localisation, term by term.

    L = w_jepa L_jepa + w_loc L_loc + w_ctx L_ctx + w_pixels L_pixels + w_truth L_truth

`L_jepa`: mean L1 between the predictor's output at hidden places and the teacher's tokens after a LayerNorm
without weights, averaged over the kinds of mask (V-JEPA, Bardes et al. 2024). `L_ctx`: the same at the
visible places (after the dense context loss of V-JEPA 2.1, arXiv 2603.14482; one weight for all places is
ours). With `deep`, student and teacher are read after four depths, side by side (its deep supervision).
`L_loc`: see `localisation`. `L_truth`: see `truth`.

`L_pixels`, for comparison: mean squared error at the hidden places between the predictor's output and the
grey levels of each tubelet, less their mean and over their deviation (VideoMAE, Tong et al. 2022). `L_jepa`
is then still computed and logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, layer_norm, mse_loss

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.config import PATCH, TUBELET, PretrainConfig
from vjepa_core.pretraining.dense_labels import TruthHead
from vjepa_core.pretraining.encode import encode, freeze_unused, patchify
from vjepa_core.pretraining.localisation import Localiser, Side, draw_windows
from vjepa_core.pretraining.masks import Masks, MaskSampler
from vjepa_core.pretraining.predictor import Predictor

TERMS = ("jepa", "loc", "ctx", "pixels", "truth")


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
    told : tuple of Tensor
        The token numbers from which the localisation targets are made: the windows, unless the targets are
        unrelated to them.
    views : tuple of Tensor
        The clips as each of the two windows shows them, (B, T, H, W) uint8; none if both show `clips`.
    moving : Tensor, optional
        (B,) bool: False for a still that is repeated as a clip.
    pairs : Tensor
        (B, pairs, 2) uniform in [0, 1).
    labelled : tuple of Tensor
        Clips and their labels, each (L, T, H, W) uint8, or nothing.
    labelled_share : float
        Labelled clips of the whole step over its others.
    """

    clips: Tensor
    masks: list[Masks]
    windows: tuple[Tensor, ...]
    pairs: Tensor
    labelled: tuple[Tensor, ...] = ()
    labelled_share: float = 0.0
    told: tuple[Tensor, ...] = ()
    views: tuple[Tensor, ...] = ()
    moving: Tensor | None = None

    def part(self, start: int, stop: int) -> Draw:
        """The clips from `start` to `stop`, and as large a share of the labelled ones."""
        rows, n = slice(start, stop), len(self.clips)
        masks = [Masks(m.context[rows], m.target[rows]) for m in self.masks]
        labelled = tuple(part[start * len(part) // n : stop * len(part) // n] for part in self.labelled)
        windows, told, views = (
            tuple(one[rows] for one in kind) for kind in (self.windows, self.told, self.views)
        )
        return Draw(
            self.clips[rows],
            masks,
            windows,
            self.pairs[rows],
            labelled,
            self.labelled_share,
            told,
            views,
            None if self.moving is None else self.moving[rows],
        )


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
        self.terms = [name for name in TERMS if getattr(config, name).peak > 0]
        self.latents = levels
        self.predictor = Predictor(
            levels,
            levels + (TUBELET * PATCH * PATCH if "pixels" in self.terms else 0),
            width=size.width,
            depth=size.depth,
            heads=size.heads,
            grid=self.grid,
            kinds=len(config.masks),
            added_positions=size.added_positions,
        )
        # A module whose weight stays 0 would only wait for gradients.
        self.localiser = (
            Localiser(student.embed_dim, self.grid, config.localisation) if "loc" in self.terms else None
        )
        self.truth = TruthHead(levels) if "truth" in self.terms else None
        self.sampler = MaskSampler(self.grid, config.masks, target_share=config.target_share)
        self.vary = Augment()

    def draw(
        self,
        clips: Tensor,
        generator: torch.Generator,
        labelled: tuple[Tensor, ...] = (),
        moving: Tensor | None = None,
    ) -> Draw:
        """Masks, windows and pairs for clips, on the generator's device.

        Masks come first, so that runs with and without localisation, of one seed, draw the same ones.
        """
        n = len(clips)
        masks = self.sampler(n, generator)
        task = self.config.localisation
        windows: tuple[Tensor, ...] = ()
        told: tuple[Tensor, ...] = ()
        views: tuple[Tensor, ...] = ()
        if self.localiser is not None and task.where == "windows":
            windows = draw_windows(self.grid, n, generator, task)
        pairs = torch.rand((n, task.pairs, 2), generator=generator, device=generator.device)
        if windows:
            # Drawn even if not used, so that the control differs in its targets alone.
            other = draw_windows(self.grid, n, generator, task)
            told = other if task.unrelated_targets else windows
            if task.vary_windows:
                views = tuple(self.vary(clips, generator) for _ in windows)
        share = len(labelled[0]) / n if labelled else 0.0
        return Draw(clips, masks, windows, pairs, labelled, share, told, views, moving)

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
        hidden, visible, drawn, seen = [], [], [], []
        for kind, masks in enumerate(draw.masks):
            levels = encode(self.student, tubelets, grid, keep=masks.context, depths=self.depths)
            at_hidden, at_visible = self.predictor(torch.cat(levels, -1), masks, kind)
            latent = at_hidden[..., : self.latents].float()
            hidden.append(l1_loss(latent, _rows(targets, masks.target).float()))
            if "ctx" in self.terms:
                latent = at_visible[..., : self.latents].float()
                visible.append(l1_loss(latent, _rows(targets, masks.context).float()))
            if "pixels" in self.terms:
                grey = _rows(tubelets, masks.target).float()
                drawn.append(mse_loss(at_hidden[..., self.latents :].float(), _standard(grey)))
            seen.append(Side(levels[-1], masks.context))
        terms = {"jepa": torch.stack(hidden).mean()}
        if visible:
            terms["ctx"] = torch.stack(visible).mean()
        if drawn:
            terms["pixels"] = torch.stack(drawn).mean()
        if self.localiser is not None:
            losses = [
                self.localiser(first, second, draw.pairs, draw.moving)
                for first, second in self._pairs(draw, tubelets, seen)
            ]
            terms["loc"] = torch.stack(losses).mean()
        if self.truth is not None:
            # Passes are averaged by their clips: one with more or fewer labelled ones counts for as many.
            share = len(draw.labelled[0]) / (draw.labelled_share * len(draw.clips))
            terms["truth"] = share * self._truth(self.truth, *draw.labelled)
        return terms

    def _truth(self, head: TruthHead, clips: Tensor, labels: Tensor) -> Tensor:
        if not len(clips):  # more passes than labelled clips
            return head.proj.bias.sum() * 0
        tubelets, grid = patchify(clips, TUBELET, PATCH)
        loss: Tensor = head(encode(self.student, tubelets, grid, depths=self.depths), labels, grid)
        return loss

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
        shown = [patchify(view, TUBELET, PATCH)[0] for view in draw.views] or [tubelets, tubelets]
        sides = [
            Side(encode(self.student, seen_by, self.grid, keep=window, depths=last)[0], told)
            for seen_by, window, told in zip(shown, draw.windows, draw.told or draw.windows, strict=True)
        ]
        return [(sides[0], sides[1])]


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The loss that is minimised."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def _standard(grey: Tensor) -> Tensor:
    """Each tubelet's grey levels less their mean, over their deviation; a black one stays 0."""
    return layer_norm(grey, grey.shape[-1:])


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
