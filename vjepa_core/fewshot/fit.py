"""Fit of a head to a few annotated frames, step by step, so that previews can be predicted in between."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vjepa_core.fewshot.augment import augment_image, deform, random_affine, warp_affine
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.loss import partial_label_loss
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.unlabelled import pseudo_labels


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit. It ends after a number of steps, not seconds, so that it is reproducible.

    Attributes
    ----------
    steps, warm_steps : int
        Number of steps of a fit, and of a warm fit, which continues from a head that was fitted to some of
        the labels; see `for_labels`.
    batch : int
        Frames per step.
    learning_rate, warm_learning_rate, weight_decay : float
        Settings of AdamW.
    ema : float
        Decay of the averaged weights per step.
    carried_share : float
        Fraction of the batch that consists of frames without a label, whose target is the carried label. They
        keep predictions close to the motion.
    carried_weight : float
        Weight of the pixels of such a frame relative to those of an annotated frame.
    unlabelled_share : float
        Fraction of the batch that consists of frames of cines without any label, whose target is the
        prediction of the averaged head; see `vjepa_core.fewshot.unlabelled`. If `carried_share` is not 0,
        they are half this fraction and replace frames with a carried label.
    unlabelled_up_to : int
        Number of annotated frames above which `unlabelled_share` decreases.
    unlabelled_from : float
        Fraction of the steps after which unlabelled cines are used, when the predictions are good enough. A
        warm fit uses them from its first step.
    min_probability : float
        Minimum probability of a predicted pixel that is used as a target.
    prior_dropout : float
        Probability that the carried label is withheld from the head.
    prior_dropout_many : float
        `prior_dropout` if several cines are annotated, so that the head also works on cines without a label.
    deform : float
        Size of smooth deformations of a prior from the frame's own label, as a fraction of the side.
    both_from : int
        Number of annotated cines from which the image net is fitted too. In fewer cines, motion is more
        accurate than this net, and the fit is twice as fast without it.
    both_steps : float
        Number of steps if both nets are fitted, before scaling; see `for_labels`.
    alone_from : int
        Number of annotated frames from which, in at least `both_from` cines, only the image net is fitted,
        with twice as many steps: with many labels a longer fit is better than a second net.
    seed : int
        Seed of all random numbers.
    """

    steps: int = 80
    warm_steps: int = 40
    batch: int = 4
    learning_rate: float = 4e-3
    warm_learning_rate: float = 2e-3
    weight_decay: float = 0.02
    ema: float = 0.96
    carried_share: float = 0.5
    carried_weight: float = 0.3
    unlabelled_share: float = 0.5
    unlabelled_up_to: int = 20
    unlabelled_from: float = 1 / 3
    min_probability: float = 0.8
    prior_dropout: float = 0.1
    prior_dropout_many: float = 0.5
    deform: float = 0.01
    both_from: int = 4
    both_steps: float = 100.0
    alone_from: int = 80
    seed: int = 0

    def active_nets(self, n: int, cines: int) -> tuple[bool, bool]:
        """Return True for each of feature net and image net that is fitted to `n` frames of `cines` cines."""
        many = cines >= self.both_from
        return not many or n < self.alone_from, many

    def for_labels(self, n: int, cines: int = 1) -> FitConfig:
        """Return the settings with the numbers of steps for `n` annotated frames in `cines` cines.

        Up to four frames take `steps`; more take sqrt(n / 4) times as many, but at most twice as many in a
        warm fit, for which the user waits. If the image net is fitted, the number is `both_steps` times the
        fourth root of n; without the feature net, a step takes half the time and the number is doubled.
        """
        growth = max(1.0, math.sqrt(n / 4))
        of_features, of_image = self.active_nets(n, cines)
        steps = self.both_steps * n**0.25 if of_image else self.steps * growth
        warm_steps = self.warm_steps * min(growth, 2.0)
        factor = 1 if of_features else 2
        return replace(self, steps=round(factor * steps), warm_steps=round(factor * warm_steps))

    def unlabelled_places(self, n: int) -> int:
        """Return the number of frames of unlabelled cines in a batch, for `n` annotated frames."""
        share = self.unlabelled_share / (2 if self.carried_share else 1)
        return round(share * self.batch * min(1.0, self.unlabelled_up_to / n))


@dataclass
class Batch:
    """Frames of one step; the first axis of every tensor is the batch, maps are on the head's grid."""

    image: Tensor
    tokens: Tensor
    prior: Tensor
    target: Tensor
    weight: Tensor
    stated: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Fit:
    """One fit of a head to the labels of cines.

    Call `step` until `done`; `averaged` is the head to predict with at any time.

    Parameters
    ----------
    head : Head
        Initial head; its weights are changed.
    cines : sequence of PreparedCine
        With labels.
    config : FitConfig
    warm : bool
        True if the head was already fitted to some of the labels.
    unlabelled : sequence of PreparedCine
        Cines of the same structures without a label; used only if both nets are fitted.

    Attributes
    ----------
    total, done_steps : int
        Number of steps in total, and number of completed steps.
    head, averaged : Head
        Current weights, and their moving average.

    Raises
    ------
    ValueError
        If no frame is annotated.
    """

    def __init__(
        self,
        head: Head,
        cines: Sequence[PreparedCine],
        config: FitConfig,
        *,
        warm: bool,
        unlabelled: Sequence[PreparedCine] = (),
    ) -> None:
        self.samples = [(cine, frame) for cine in cines for frame in sorted(cine.labels)]
        if not self.samples:
            raise ValueError("no annotated frame to fit to")
        self.config = config
        annotated = sum(bool(cine.labels) for cine in cines)
        active = torch.tensor(config.active_nets(len(self.samples), annotated))
        # A net that was not fitted before needs the full number of steps.
        warm = warm and bool((head.in_use.cpu() | ~active).all())
        self.total = config.warm_steps if warm else config.steps
        self.done_steps = 0
        self._unlabelled = list(unlabelled) if active[1] else []
        self._unlabelled_from = 0 if warm else round(config.unlabelled_from * self.total)
        head.active.copy_(torch.stack([cine.outlined_classes for cine in cines if cine.labels]).any(0))
        head.in_use.copy_(active)
        self.head = head.train()
        self.averaged = copy.deepcopy(head).eval()
        self._device = next(head.parameters()).device
        self._generator = torch.Generator().manual_seed(config.seed)
        # Dropout uses the global generator of torch.
        torch.manual_seed(config.seed)
        rate = config.warm_learning_rate if warm else config.learning_rate
        self._weights: list[Tensor] = list(head.parameters())
        self._means: list[Tensor] = list(self.averaged.parameters())
        self._weights_by_net = [list(net.parameters()) for net in head.active_nets]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=rate, weight_decay=config.weight_decay, fused=True
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=rate,
            total_steps=self.total,
            pct_start=0.15,
            div_factor=5,
            final_div_factor=20,
        )
        self._prior_dropout = config.prior_dropout_many if annotated > 1 else config.prior_dropout
        self._order: list[int] = []
        self._next: Batch | None = None  # assembled during the previous step

    @property
    def done(self) -> bool:
        """True after the last step."""
        return self.done_steps >= self.total

    def step(self) -> float:
        """Do one optimiser step and return its loss.

        The next batch is assembled in another thread and is complete when this method returns, so that cines
        are not read between two steps.
        """
        batch, self._next = self._next or self._batch(self.done_steps), None
        with self._prefetch(self.done_steps + 1):
            return self._optimise(batch)

    @contextlib.contextmanager
    def _prefetch(self, step: int) -> Iterator[None]:
        """Assemble the batch of a step, unless it depends on the result of the current step."""
        if step >= self.total or self._unlabelled_places(step):
            yield
            return
        future: Future[Batch] = _assembler().submit(self._batch, step)
        try:
            yield
        finally:
            self._next = future.result()

    def _optimise(self, batch: Batch) -> float:
        logits = self.head.forward_nets(batch.image, batch.tokens, batch.prior)
        losses = [partial_label_loss(one, batch.target, batch.stated, batch.weight) for one in logits]
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # the nets share no weights
        for weights in self._weights_by_net:
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.done_steps += 1
        # Early in a fit, the decay is smaller, so that the initial weights do not dominate the average.
        decay = min(self.config.ema, (1 + self.done_steps) / (6 + self.done_steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, self._weights, 1 - decay)
        return float(torch.stack(losses).detach().mean())

    def _batch(self, step: int) -> Batch:
        """Return the batch of a step; must be called in order, because steps share one random generator."""
        return self._augment(self._assemble(self._draw(self._unlabelled_places(step))).to(self._device))

    def _unlabelled_places(self, step: int) -> int:
        """Return the number of frames in the batch of a step that have predictions as targets."""
        if not self._unlabelled or step < self._unlabelled_from:
            return 0
        return self.config.unlabelled_places(len(self.samples))

    def _draw(self, n_unlabelled: int) -> list[tuple[PreparedCine, int]]:
        """Draw the frames of the next batch; no annotated frame is repeated before all have been drawn."""
        batch: list[tuple[PreparedCine, int]] = []
        n_carried = max(0, round(self.config.carried_share * self.config.batch) - n_unlabelled)
        while len(batch) < self.config.batch - n_unlabelled:
            if not self._order:
                self._order = torch.randperm(len(self.samples), generator=self._generator).tolist()
            batch.append(self.samples[self._order.pop()])
        for i in range(len(batch) - n_carried, len(batch)):
            batch[i] = (batch[i][0], self._random_below(batch[i][0].n_frames))
        for _ in range(n_unlabelled):
            cine = self._unlabelled[self._random_below(len(self._unlabelled))]
            batch.append((cine, self._random_below(cine.n_frames)))
        return batch

    def _random_below(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self._generator))

    def _assemble(self, frames: list[tuple[PreparedCine, int]]) -> Batch:
        k = self.head.config.n_outputs
        target, weight, stated = [], [], []
        pseudo = iter(self._pseudo_labels([(cine, frame) for cine, frame in frames if not cine.labels]))
        for cine, frame in frames:
            label = cine.labels.get(frame)
            if not cine.labels:
                label_maps, label_weight = next(pseudo)
                target.append(label_maps)
                weight.append(label_weight)
                # A structure that is not predicted may be present nevertheless.
                stated.append((label_maps * label_weight).amax((1, 2)) > 0)
            elif label is None:
                carried = cine.prior([frame], k)[0]
                target.append(carried)
                weight.append(self.config.carried_weight * (carried.sum(0) > 0.5))
                stated.append(cine.outlined_classes)
            else:
                target.append(torch.from_numpy(label.target).permute(2, 0, 1))
                weight.append(torch.from_numpy(label.weight))
                stated.append(torch.from_numpy(label.stated))
        return Batch(
            image=torch.cat([cine.image([frame]) for cine, frame in frames]),
            tokens=torch.cat([cine.tokens([frame]) for cine, frame in frames]).float(),
            prior=self._priors(frames),
            target=torch.stack(target),
            weight=torch.stack(weight),
            stated=torch.stack(stated),
        )

    def _pseudo_labels(self, frames: list[tuple[PreparedCine, int]]) -> list[tuple[Tensor, Tensor]]:
        """Predict target and weight of frames of unlabelled cines with the averaged head."""
        if not frames:
            return []
        inputs = [_inputs(self.averaged, cine, [frame]) for cine, frame in frames]
        image, tokens, prior = (torch.cat(parts) for parts in zip(*inputs, strict=True))
        with torch.no_grad():
            logits = self.averaged.forward_nets(image, tokens, prior)
        target, weight = pseudo_labels(logits, self.config.min_probability)
        return list(zip(target.cpu(), weight.cpu(), strict=True))

    def _priors(self, frames: list[tuple[PreparedCine, int]]) -> Tensor:
        """Return carried labels with the errors that they have in predictions, never the true label.

        They are carried from the other annotated frames, or from the frame itself to another one and back.
        """
        k, n = self.head.config.n_outputs, len(frames)
        others = torch.cat([cine.prior([frame], k, leave_out=True) for cine, frame in frames])
        use_others = torch.rand(n, generator=self._generator) < 0.5
        use_others &= others.sum((1, 2, 3)) > 0
        turns = torch.rand(n, generator=self._generator)
        own = []
        for (cine, frame), turn, skip in zip(frames, turns.tolist(), use_others.tolist(), strict=True):
            prior = cine.prior([frame], k)
            if frame in cine.labels and not skip:
                prior = cine.there_and_back(prior, frame, int(turn * cine.n_frames))
            own.append(prior)
        deformed = deform(torch.cat(own), self.config.deform, self._generator)
        prior = torch.where(use_others[:, None, None, None], others, deformed)
        dropped = torch.rand(n, generator=self._generator) < self._prior_dropout
        return prior.masked_fill(dropped[:, None, None, None], 0.0)

    def _augment(self, batch: Batch) -> Batch:
        theta = random_affine(len(batch.image), self._generator)
        b, depths, h, w, dim = batch.tokens.shape
        flat = batch.tokens.permute(0, 1, 4, 2, 3).reshape(b, depths * dim, h, w)
        k = batch.prior.shape[1]
        maps = warp_affine(torch.cat([batch.prior, batch.target, batch.weight[:, None]], 1), theta)
        return Batch(
            image=augment_image(warp_affine(batch.image, theta), self._generator),
            tokens=warp_affine(flat, theta).reshape(b, depths, dim, h, w).permute(0, 1, 3, 4, 2),
            prior=maps[:, :k],
            target=maps[:, k : 2 * k],
            weight=maps[:, 2 * k],
            stated=batch.stated,
        )


@functools.cache
def _assembler() -> ThreadPoolExecutor:
    """Return the thread that assembles batches; torch is single-threaded in it."""
    threads = torch.get_num_threads()
    assembler = ThreadPoolExecutor(1, "batches")
    assembler.submit(torch.set_num_threads, 1).result()
    # A thread adopts the number set last by any thread when it first uses it.
    assembler.submit(torch.get_num_threads).result()
    torch.set_num_threads(threads)
    return assembler


@torch.inference_mode()
def predict(head: Head, cine: PreparedCine, frames: Sequence[int]) -> Tensor:
    """Return probabilities of background and classes on the head's grid, (B, K, grid, grid), on the CPU."""
    return head(*_inputs(head, cine, frames)).softmax(1).float().cpu()


def _inputs(head: Head, cine: PreparedCine, frames: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    device = next(head.parameters()).device
    prior = cine.prior(frames, head.config.n_outputs)
    return cine.image(frames).to(device), cine.tokens(frames).to(device), prior.to(device)
