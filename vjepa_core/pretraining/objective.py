"""Training objective: V-JEPA with 3D localisation and optional terms.

    L = w_jepa L_jepa + w_loc L_loc + w_ctx L_ctx + w_pixels L_pixels + w_truth L_truth

`L_jepa`: mean L1 distance between the predictor's output at hidden positions and the teacher's tokens after a
LayerNorm without weights, averaged over the kinds of mask (V-JEPA, Bardes et al. 2024). `L_ctx`: the same at
visible positions (dense context loss of V-JEPA 2.1, arXiv 2603.14482, but with one weight for all positions).
With `deep`, the outputs of student and teacher at four depths are concatenated (deep supervision of V-JEPA
2.1). `L_loc`: see `localisation`. `L_truth`: see `dense_labels`.

`L_pixels`, for comparison: mean squared error at hidden positions between the predictor's output and the
standardised grey levels of each tubelet (VideoMAE, Tong et al. 2022). `L_jepa` is then still computed and
logged.
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
from vjepa_core.pretraining.dense_labels import DenseLabelHead
from vjepa_core.pretraining.encode import encode, freeze_unused_weights, patchify
from vjepa_core.pretraining.localisation import Localiser, Side, draw_windows
from vjepa_core.pretraining.masks import Masks, MaskSampler
from vjepa_core.pretraining.predictor import Predictor

TERMS = ("jepa", "loc", "ctx", "pixels", "truth")


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips and random choices of one step; the first axis of every tensor is the batch.

    Attributes
    ----------
    clips : Tensor
        Shape (B, T, H, W), uint8.
    masks : list of Masks
        One for each kind of mask.
    windows : tuple of Tensor
        Visible tokens of two windows, each (B, K), int64; empty without localisation in windows.
    pairs : Tensor
        Uniform random numbers in [0, 1), shape (B, pairs, 2).
    labelled : tuple of Tensor
        Labelled clips and their labels, each (L, T, H, W), uint8; empty without labels.
    labelled_share : float
        Number of labelled clips divided by the number of other clips of the step.
    target_windows : tuple of Tensor
        Token indices that define the localisation targets: `windows`, unless the targets are unrelated.
    views : tuple of Tensor
        Clips with separate augmentation for each of the two windows, each (B, T, H, W), uint8; empty if both
        windows use `clips`.
    moving : Tensor, optional
        False for repeated still images, shape (B,), bool.
    """

    clips: Tensor
    masks: list[Masks]
    windows: tuple[Tensor, ...]
    pairs: Tensor
    labelled: tuple[Tensor, ...] = ()
    labelled_share: float = 0.0
    target_windows: tuple[Tensor, ...] = ()
    views: tuple[Tensor, ...] = ()
    moving: Tensor | None = None

    def part(self, start: int, stop: int) -> Batch:
        """Return the clips from `start` to `stop` and the same fraction of the labelled clips."""
        rows, n = slice(start, stop), len(self.clips)
        masks = [Masks(m.context[rows], m.target[rows]) for m in self.masks]
        labelled = tuple(part[start * len(part) // n : stop * len(part) // n] for part in self.labelled)
        windows, target_windows, views = (
            tuple(one[rows] for one in kind) for kind in (self.windows, self.target_windows, self.views)
        )
        return Batch(
            self.clips[rows],
            masks,
            windows,
            self.pairs[rows],
            labelled,
            self.labelled_share,
            target_windows,
            views,
            None if self.moving is None else self.moving[rows],
        )


class Objective(nn.Module):
    """All trained modules: student, predictor, localiser and label head.

    Parameters
    ----------
    student : VisionTransformer3D
        The encoder to train. Weights that the objective does not use are frozen.
    config : PretrainConfig
        Configuration of the run.
    """

    def __init__(self, student: VisionTransformer3D, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = config.grid
        last = len(student.blocks) - 1
        self.depths: tuple[int, ...] = student.depths if config.deep else (last,)
        freeze_unused_weights(student, self.depths)
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
        # No module for terms without weight, because DDP would wait for its gradients.
        self.localiser = (
            Localiser(student.embed_dim, self.grid, config.localisation) if "loc" in self.terms else None
        )
        self.truth = DenseLabelHead(levels) if "truth" in self.terms else None
        self.sampler = MaskSampler(self.grid, config.masks, target_share=config.target_share)
        self.augment_views = Augment()

    def draw(
        self,
        clips: Tensor,
        generator: torch.Generator,
        labelled: tuple[Tensor, ...] = (),
        moving: Tensor | None = None,
    ) -> Batch:
        """Draw masks, windows and pairs for clips, on the generator's device.

        Masks are drawn first, so that they are the same with and without localisation.
        """
        n = len(clips)
        masks = self.sampler(n, generator)
        task = self.config.localisation
        windows: tuple[Tensor, ...] = ()
        target_windows: tuple[Tensor, ...] = ()
        views: tuple[Tensor, ...] = ()
        if self.localiser is not None and task.where == "windows":
            windows = draw_windows(self.grid, n, generator, task)
        pairs = torch.rand((n, task.pairs, 2), generator=generator, device=generator.device)
        if windows:
            # Drawn even if not used, so that the control differs in its targets only.
            other = draw_windows(self.grid, n, generator, task)
            target_windows = other if task.unrelated_targets else windows
            if task.vary_windows:
                views = tuple(self.augment_views(clips, generator) for _ in windows)
        share = len(labelled[0]) / n if labelled else 0.0
        return Batch(clips, masks, windows, pairs, labelled, share, target_windows, views, moving)

    @torch.no_grad()
    def targets(self, teacher: VisionTransformer3D, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the targets of the predictor.

        Returns
        -------
        targets : Tensor
            Layer-normed tokens of all depths, shape (B, N, depths * D).
        tokens : Tensor
            The teacher's last tokens, shape (B, N, D).
        """
        tubelets, grid = patchify(clips, TUBELET, PATCH)
        levels = encode(teacher, tubelets, grid, depths=self.depths)
        normed = [layer_norm(level, level.shape[-1:]) for level in levels]
        return torch.cat(normed, -1), levels[-1]

    def forward(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """Compute the unweighted loss terms: scalars by name."""
        tubelets, grid = patchify(batch.clips, TUBELET, PATCH)
        jepa, ctx, pixels, sides = [], [], [], []
        for kind, masks in enumerate(batch.masks):
            levels = encode(self.student, tubelets, grid, keep=masks.context, depths=self.depths)
            at_hidden, at_visible = self.predictor(torch.cat(levels, -1), masks, kind)
            latent = at_hidden[..., : self.latents].float()
            jepa.append(l1_loss(latent, _rows(targets, masks.target).float()))
            if "ctx" in self.terms:
                latent = at_visible[..., : self.latents].float()
                ctx.append(l1_loss(latent, _rows(targets, masks.context).float()))
            if "pixels" in self.terms:
                grey = _rows(tubelets, masks.target).float()
                pixels.append(mse_loss(at_hidden[..., self.latents :].float(), _standard(grey)))
            sides.append(Side(levels[-1], masks.context))
        terms = {"jepa": torch.stack(jepa).mean()}
        if ctx:
            terms["ctx"] = torch.stack(ctx).mean()
        if pixels:
            terms["pixels"] = torch.stack(pixels).mean()
        if self.localiser is not None:
            losses = [
                self.localiser(first, second, batch.pairs, batch.moving)
                for first, second in self._pairs(batch, tubelets, sides)
            ]
            terms["loc"] = torch.stack(losses).mean()
        if self.truth is not None:
            # Passes are weighted by their number of clips; correct for their number of labelled clips.
            share = len(batch.labelled[0]) / (batch.labelled_share * len(batch.clips))
            terms["truth"] = share * self._truth(self.truth, *batch.labelled)
        return terms

    def _truth(self, head: DenseLabelHead, clips: Tensor, labels: Tensor) -> Tensor:
        if not len(clips):  # if there are more passes than labelled clips
            return head.proj.bias.sum() * 0
        tubelets, grid = patchify(clips, TUBELET, PATCH)
        loss: Tensor = head(encode(self.student, tubelets, grid, depths=self.depths), labels, grid)
        return loss

    def _pairs(self, batch: Batch, tubelets: Tensor, sides: Sequence[Side]) -> list[tuple[Side, Side]]:
        """Return the two sides of the localisation pairs."""
        last = self.depths[-1:]
        where = self.config.localisation.where
        if where == "inside":
            return [(side, side) for side in sides]
        if where == "unplaced":
            keep = batch.masks[0].context
            (tokens,) = encode(
                self.student, tubelets, self.grid, keep=keep, depths=last, with_positions=False
            )
            return [(Side(tokens, keep), Side(tokens, keep))]
        views = [patchify(view, TUBELET, PATCH)[0] for view in batch.views] or [tubelets, tubelets]
        windows = [
            Side(encode(self.student, view, self.grid, keep=window, depths=last)[0], target)
            for view, window, target in zip(
                views, batch.windows, batch.target_windows or batch.windows, strict=True
            )
        ]
        return [(windows[0], windows[1])]


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of the loss terms."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def _standard(grey: Tensor) -> Tensor:
    """Standardise the grey levels of each tubelet; a black tubelet stays 0."""
    return layer_norm(grey, grey.shape[-1:])


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
