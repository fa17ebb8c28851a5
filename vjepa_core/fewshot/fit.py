"""Fitting a head to a handful of annotated frames, step by step, so that previews can be drawn in between."""

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
    """How long and how hard to fit. Steps, not seconds, end a fit, so that a seed makes it repeatable.

    Attributes
    ----------
    steps, warm_steps : int
        Length of a fit, and of one that goes on from a head fitted to fewer of the same labels; see
        `for_labels`.
    batch : int
        Frames a step.
    learning_rate, warm_learning_rate, weight_decay
        Of AdamW.
    ema : float
        Share of the averaged weights that stays at each step.
    carried_share : float
        Share of the batch that are frames without a label, with the carried label as target: they hold the
        head to what motion knows, which a few annotated frames alone do not.
    carried_weight : float
        Weight of such a frame's pixels against those of an annotated frame.
    unlabelled_share : float
        Share of the batch that are frames of cines that nobody has outlined, with the averaged head's own
        answer as target: see `vjepa_core.fewshot.unlabelled`. Where frames with a carried label are in the
        batch, half of it, in their place.
    unlabelled_up_to : int
        Annotated frames up to which they have this share; beyond, it falls as labels become many.
    unlabelled_from : float
        Share of a fit's steps after which they come in: before, the answers are worth little. A warm fit has
        them from its first step.
    sure : float
        Probability from which on such an answer is a target.
    prior_dropout : float
        How often the head has to do without a carried label.
    prior_dropout_many : float
        The same where several cines are annotated: the head is then wanted for cines without a label too.
    deform : float
        Size of smooth deformations of a prior made from the frame's own label, fraction of the edge.
    both_from : int
        Annotated cines from which on the net that reads the picture alone is fitted too and has a say. Within
        a few cines motion knows better than it, and the fit is twice as fast without.
    both_steps : float
        Takes the place of `steps` there, see `for_labels`.
    alone_from : int
        Annotated frames of so many cines from which on that net is fitted alone, twice as long: of many
        labels a longer fit makes more than a second net's opinion.
    seed : int
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
    sure: float = 0.8
    prior_dropout: float = 0.1
    prior_dropout_many: float = 0.5
    deform: float = 0.01
    both_from: int = 4
    both_steps: float = 100.0
    alone_from: int = 80
    seed: int = 0

    def active_nets(self, n: int, cines: int) -> tuple[bool, bool]:
        """Whether the features' net and the picture's learn from `n` annotated frames of so many cines."""
        many = cines >= self.both_from
        return not many or n < self.alone_from, many

    def for_labels(self, n: int, cines: int = 1) -> FitConfig:
        """As long a fit as `n` annotated frames of so many cines are worth: more of them teach more.

        Up to four frames take the steps as they are, n take sqrt(n / 4) times as many; but a warm fit, which
        somebody is waiting for, at most twice. Where both nets learn it is `both_steps` times the fourth root
        of n. A step of the picture's net alone takes half the time, so that there are twice as many.
        """
        growth = max(1.0, math.sqrt(n / 4))
        of_features, of_picture = self.active_nets(n, cines)
        steps = self.both_steps * n**0.25 if of_picture else self.steps * growth
        warm_steps = self.warm_steps * min(growth, 2.0)
        more = 1 if of_features else 2
        return replace(self, steps=round(more * steps), warm_steps=round(more * warm_steps))

    def unlabelled_places(self, n: int) -> int:
        """Places of a batch for frames of cines without a label, beside `n` annotated frames."""
        share = self.unlabelled_share / (2 if self.carried_share else 1)
        return round(share * self.batch * min(1.0, self.unlabelled_up_to / n))


@dataclass
class Batch:
    """One step's frames; every tensor's first axis is the batch, maps are on the head's grid."""

    image: Tensor
    tokens: Tensor
    prior: Tensor
    target: Tensor
    weight: Tensor
    drawn: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Fit:
    """One fit of `head` to the labels of `cines`; starts from the head as it is.

    Call `step` until `done`; `averaged` is the head to predict with at any moment.

    Parameters
    ----------
    head : Head
    cines : sequence of PreparedCine
        With labels.
    config : FitConfig
    warm : bool
        The head has learnt some of the same labels before.
    unlabelled : sequence of PreparedCine
        Cines of the same structures without a label; they take part where both nets do.

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
        says = torch.tensor(config.active_nets(len(self.samples), annotated))
        # A net that has had no say yet has not learnt these labels: a short fit will not do for it.
        warm = warm and bool((head.heard.cpu() | ~says).all())
        self.total = config.warm_steps if warm else config.steps
        self.done_steps = 0
        self._unlabelled = list(unlabelled) if says[1] else []
        self._unlabelled_from = 0 if warm else round(config.unlabelled_from * self.total)
        head.active.copy_(torch.stack([cine.outlined_classes for cine in cines if cine.labels]).any(0))
        head.heard.copy_(says)
        self.head = head.train()
        self.averaged = copy.deepcopy(head).eval()
        self._device = next(head.parameters()).device
        self._generator = torch.Generator().manual_seed(config.seed)
        # Dropout draws from torch's global generator.
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
        self._next: Batch | None = None  # made during the step before

    @property
    def done(self) -> bool:
        return self.done_steps >= self.total

    def step(self) -> float:
        """One optimiser step; returns its loss.

        The next batch is made meanwhile, by another thread. It is ready when this returns: between two steps
        nothing reads the cines.
        """
        batch, self._next = self._next or self._batch(self.done_steps), None
        with self._meanwhile(self.done_steps + 1):
            return self._learn(batch)

    @contextlib.contextmanager
    def _meanwhile(self, step: int) -> Iterator[None]:
        """Have the batch of that step made, unless it has to wait for what is learnt now."""
        if step >= self.total or self._unlabelled_places(step):
            yield
            return
        made: Future[Batch] = _maker().submit(self._batch, step)
        try:
            yield
        finally:
            self._next = made.result()

    def _learn(self, batch: Batch) -> float:
        answers = self.head.forward_nets(batch.image, batch.tokens, batch.prior)
        losses = [partial_label_loss(logits, batch.target, batch.drawn, batch.weight) for logits in answers]
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # the nets share no weight: each learns as if alone
        for weights in self._weights_by_net:
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.done_steps += 1
        # Early in a fit the average follows closely, else it would hold on to the untrained weights.
        decay = min(self.config.ema, (1 + self.done_steps) / (6 + self.done_steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, self._weights, 1 - decay)
        return float(torch.stack(losses).detach().mean())

    def _batch(self, step: int) -> Batch:
        """What a step learns from. Steps have to come in turn: all random numbers are of one sequence."""
        return self._augment(self._assemble(self._draw(self._unlabelled_places(step))).to(self._device))

    def _unlabelled_places(self, step: int) -> int:
        """Places of a step's batch for frames of cines without a label, whose targets are learnt ones."""
        if not self._unlabelled or step < self._unlabelled_from:
            return 0
        return self.config.unlabelled_places(len(self.samples))

    def _draw(self, n_unlabelled: int) -> list[tuple[PreparedCine, int]]:
        """Next batch: every annotated frame once before any comes again; then frames nobody annotated."""
        batch: list[tuple[PreparedCine, int]] = []
        n_carried = max(0, round(self.config.carried_share * self.config.batch) - n_unlabelled)
        while len(batch) < self.config.batch - n_unlabelled:
            if not self._order:
                self._order = torch.randperm(len(self.samples), generator=self._generator).tolist()
            batch.append(self.samples[self._order.pop()])
        for i in range(len(batch) - n_carried, len(batch)):
            batch[i] = (batch[i][0], self._below(batch[i][0].n_frames))
        for _ in range(n_unlabelled):
            cine = self._unlabelled[self._below(len(self._unlabelled))]
            batch.append((cine, self._below(cine.n_frames)))
        return batch

    def _below(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self._generator))

    def _assemble(self, frames: list[tuple[PreparedCine, int]]) -> Batch:
        k = self.head.config.n_outputs
        target, weight, drawn = [], [], []
        taught = iter(self._taught([(cine, frame) for cine, frame in frames if not cine.labels]))
        for cine, frame in frames:
            label = cine.labels.get(frame)
            if not cine.labels:
                own, sure = next(taught)
                target.append(own)
                weight.append(sure)
                # What the head does not see may be there all the same: that is no reason to unlearn it.
                drawn.append((own * sure).amax((1, 2)) > 0)
            elif label is None:
                carried = cine.prior([frame], k)[0]
                target.append(carried)
                weight.append(self.config.carried_weight * (carried.sum(0) > 0.5))
                drawn.append(cine.outlined_classes)
            else:
                target.append(torch.from_numpy(label.target).permute(2, 0, 1))
                weight.append(torch.from_numpy(label.weight))
                drawn.append(torch.from_numpy(label.stated))
        return Batch(
            image=torch.cat([cine.image([frame]) for cine, frame in frames]),
            tokens=torch.cat([cine.tokens([frame]) for cine, frame in frames]).float(),
            prior=self._priors(frames),
            target=torch.stack(target),
            weight=torch.stack(weight),
            drawn=torch.stack(drawn),
        )

    def _taught(self, frames: list[tuple[PreparedCine, int]]) -> list[tuple[Tensor, Tensor]]:
        """Target and weight of each frame of a cine without a label."""
        if not frames:
            return []
        read = [_read(self.averaged, cine, [frame]) for cine, frame in frames]
        image, tokens, prior = (torch.cat(parts) for parts in zip(*read, strict=True))
        with torch.no_grad():
            answers = self.averaged.forward_nets(image, tokens, prior)
        target, weight = pseudo_labels(answers, self.config.sure)
        return list(zip(target.cpu(), weight.cpu(), strict=True))

    def _priors(self, frames: list[tuple[PreparedCine, int]]) -> Tensor:
        """Carried labels with the errors that they have at prediction, never a frame's own label as drawn.

        They come from the other annotated frames, or, carried to some frame and back, from the frame itself.
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
        spoilt = deform(torch.cat(own), self.config.deform, self._generator)
        prior = torch.where(use_others[:, None, None, None], others, spoilt)
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
            drawn=batch.drawn,
        )


@functools.cache
def _maker() -> ThreadPoolExecutor:
    """The thread that makes batches; torch uses no further threads in it, beside those that learn."""
    threads = torch.get_num_threads()
    maker = ThreadPoolExecutor(1, "batches")
    maker.submit(torch.set_num_threads, 1).result()
    # A thread takes over the number that was set last, by any thread, when it is first asked for its own.
    maker.submit(torch.get_num_threads).result()
    torch.set_num_threads(threads)
    return maker


@torch.inference_mode()
def predict(head: Head, cine: PreparedCine, frames: Sequence[int]) -> Tensor:
    """Probabilities of background and classes on the head's grid, (B, K, grid, grid), on the CPU."""
    return head(*_read(head, cine, frames)).softmax(1).float().cpu()


@torch.inference_mode()
def predict_each(head: Head, cine: PreparedCine, frames: Sequence[int]) -> list[Tensor]:
    """As `predict`, of each net that has a say; a mean of all is what `predict` gives."""
    return [logits.softmax(1).float().cpu() for logits in head.forward_nets(*_read(head, cine, frames))]


def _read(head: Head, cine: PreparedCine, frames: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    device = next(head.parameters()).device
    prior = cine.prior(frames, head.config.n_outputs)
    return cine.image(frames).to(device), cine.tokens(frames).to(device), prior.to(device)
