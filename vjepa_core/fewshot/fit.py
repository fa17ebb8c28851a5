"""Fitting a head to a handful of annotated frames, step by step, so that previews can be drawn in between."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.fewshot.augment import random_affine, vary_image, warp_affine, wobble
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.loss import partial_label_loss
from vjepa_core.fewshot.study import StudyCine


@dataclass(frozen=True)
class FitConfig:
    """How long and how hard to fit. Steps, not seconds, end a fit, so that a seed makes it repeatable."""

    steps: int = 160
    warm_steps: int = 80
    batch: int = 4
    learning_rate: float = 4e-3
    warm_learning_rate: float = 2e-3
    weight_decay: float = 0.02
    ema: float = 0.96
    carried_share: float = 0.5
    carried_weight: float = 0.5
    prior_dropout: float = 0.3
    wobble: float = 0.05
    seed: int = 0


class Fit:
    """One fit of `head` to the labels of `cines`; starts from the head as it is.

    Call `step` until `done`; `averaged` is the head to predict with at any moment.
    """

    def __init__(self, head: Head, cines: Sequence[StudyCine], config: FitConfig, *, warm: bool) -> None:
        self.samples = [(cine, frame) for cine in cines for frame in sorted(cine.labels)]
        if not self.samples:
            raise ValueError("no annotated frame to fit to")
        self.config = config
        self.total = config.warm_steps if warm else config.steps
        self.done_steps = 0
        self.head = head.train()
        self.averaged = copy.deepcopy(head).eval()
        self._device = next(head.parameters()).device
        self._generator = torch.Generator().manual_seed(config.seed)
        # Dropout draws from torch's global generator.
        torch.manual_seed(config.seed)
        rate = config.warm_learning_rate if warm else config.learning_rate
        self._optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=config.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=rate,
            total_steps=self.total,
            pct_start=0.15,
            div_factor=5,
            final_div_factor=20,
        )
        self.active = torch.ones(head.config.n_outputs, dtype=torch.bool)
        drawn = torch.stack([torch.from_numpy(c.labels[f].drawn) for c, f in self.samples]).any(0)
        self.active &= drawn
        self._order: list[int] = []

    @property
    def done(self) -> bool:
        return self.done_steps >= self.total

    def _draw(self) -> list[tuple[StudyCine, int]]:
        """Next batch: every annotated frame once before any comes again."""
        batch: list[tuple[StudyCine, int]] = []
        while len(batch) < self.config.batch:
            if not self._order:
                self._order = torch.randperm(len(self.samples), generator=self._generator).tolist()
            batch.append(self.samples[self._order.pop()])
        return batch

    def _assemble(self, batch: list[tuple[StudyCine, int]]) -> tuple[Tensor, ...]:
        k = self.head.config.n_outputs
        n_carried = int(self.config.carried_share * len(batch))
        extra = []
        for cine, _ in batch[:n_carried]:
            f = int(torch.randint(cine.n_frames, (1,), generator=self._generator))
            extra.append((cine, f))
        batch = extra + batch[n_carried:]
        image = torch.cat([cine.image([frame]) for cine, frame in batch])
        tokens = torch.cat([cine.tokens([frame]) for cine, frame in batch]).float()
        T_, W_, D_ = [], [], []
        for i, (cine, frame) in enumerate(batch):
            if frame in cine.labels:
                l = cine.labels[frame]
                T_.append(torch.from_numpy(l.target).permute(2, 0, 1))
                W_.append(torch.from_numpy(l.weight))
                D_.append(torch.from_numpy(l.drawn))
            else:
                T_.append(cine.prior([frame], k)[0])
                W_.append(torch.full((112, 112), self.config.carried_weight))
                D_.append(self.active.clone())
        target, weight, drawn = torch.stack(T_), torch.stack(W_), torch.stack(D_)
        # The head must never see a frame's own label as it is: carry it from elsewhere, or spoil it.
        own = wobble(target, self.config.wobble, self._generator)
        carried = torch.cat([cine.prior([frame], k, leave_out=True) for cine, frame in batch])
        has_carried = carried.sum((1, 2, 3)) > 0
        use_own = (torch.rand(len(batch), generator=self._generator) < 0.5) | ~has_carried
        prior = torch.where(use_own[:, None, None, None], own, carried)
        dropped = torch.rand(len(batch), generator=self._generator) < self.config.prior_dropout
        prior = prior.masked_fill(dropped[:, None, None, None], 0.0)
        return image, tokens, prior, target, weight, drawn

    def _augment(
        self, image: Tensor, tokens: Tensor, prior: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, ...]:
        theta = random_affine(len(image), self._generator)
        image = vary_image(warp_affine(image, theta), self._generator)
        b, depths, h, w, dim = tokens.shape
        flat = tokens.permute(0, 1, 4, 2, 3).reshape(b, depths * dim, h, w)
        tokens = warp_affine(flat, theta).reshape(b, depths, dim, h, w).permute(0, 1, 3, 4, 2)
        maps = warp_affine(torch.cat([prior, target, weight[:, None]], 1), theta)
        k = prior.shape[1]
        return image, tokens, maps[:, :k], maps[:, k : 2 * k], maps[:, 2 * k]

    def step(self) -> float:
        """One optimiser step; returns its loss."""
        image, tokens, prior, target, weight, drawn = self._assemble(self._draw())
        image, tokens, prior, target, weight = self._augment(image, tokens, prior, target, weight)
        to = self._device
        logits = mask_inactive(self.head(image.to(to), tokens.to(to), prior.to(to)), self.active)
        loss = partial_label_loss(logits, target.to(to), drawn.to(to), weight.to(to))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.done_steps += 1
        # Early in a fit the average follows closely, else it would hold on to the untrained weights.
        decay = min(self.config.ema, (1 + self.done_steps) / (6 + self.done_steps))
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.head.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return float(loss.detach())


def mask_inactive(logits: Tensor, active: Tensor) -> Tensor:
    """Take structures that nobody has outlined out of the answer."""
    return logits.masked_fill(~active.to(logits.device)[None, :, None, None], -30.0)


@torch.inference_mode()
def predict(head: Head, cine: StudyCine, frames: list[int], active: Tensor) -> Tensor:
    """Probabilities of background and classes on the head's grid, (B, K, grid, grid), on the CPU."""
    device = next(head.parameters()).device
    prior = cine.prior(frames, head.config.n_outputs)
    logits = head(cine.image(frames).to(device), cine.tokens(frames).to(device), prior.to(device))
    return mask_inactive(logits, active).softmax(1).float().cpu()
