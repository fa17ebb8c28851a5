"""Gradient accumulation: split the clips of a step so that they fit into memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vjepa_core.pretraining.config import PATCH, TUBELET
from vjepa_core.pretraining.encode import patchify
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.monitors import feature_statistics, probe_positions, probe_tokens
from vjepa_core.pretraining.objective import Batch, Objective, weighted_sum
from vjepa_core.pretraining.parallel import TeacherRunner

log = logging.getLogger(__name__)


class GradientAccumulator:
    """Runs the forward and backward passes of a step.

    Parameters
    ----------
    objective : Objective
        The training objective.
    model : Module
        The objective, or DDP around it.
    teacher_runner : TeacherRunner
        The teacher.
    max_clips : int
        Maximum number of clips in one pass; halved permanently if they do not fit into memory.
    bf16 : bool
        Autocast to bfloat16.
    single_process : bool
        True if there is no other process.
    """

    def __init__(
        self,
        objective: Objective,
        model: nn.Module,
        teacher_runner: TeacherRunner,
        *,
        max_clips: int,
        bf16: bool,
        single_process: bool = True,
    ) -> None:
        self.objective, self.model, self.teacher_runner = objective, model, teacher_runner
        self.max_clips, self.bf16, self.single_process = max_clips, bf16, single_process

    def gradients(self, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Compute the mean gradient of a batch and store it in the parameters.

        Parameters
        ----------
        batch : Batch
            Clips, masks and other inputs of the step.
        weights : mapping of str to float
            Weight of each term of the loss.

        Returns
        -------
        dict of str to Tensor
            Scalars on the device: the loss, its terms and the statistics of the features.

        Raises
        ------
        PretrainingError
            If the clips do not fit into memory and a single clip or several processes are in use: other
            processes would already wait for this one.
        """
        while True:
            try:
                return self._accumulate(batch, weights)
            except torch.OutOfMemoryError:
                smaller = self.max_clips // 2
                if not self.single_process or not smaller:
                    hint = f"micro_batch = {smaller}" if smaller else "a smaller size or architecture"
                    raise PretrainingError(
                        f"A pass with {self.max_clips} clips does not fit into device memory: set {hint}."
                    ) from None
            # Outside the except block, because the exception keeps tensors alive.
            log.warning(
                "A pass with %d clips does not fit into memory: continuing with %d.", self.max_clips, smaller
            )
            self.max_clips = smaller
            if batch.clips.is_cuda:
                torch.cuda.empty_cache()

    def _accumulate(self, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
        self.objective.zero_grad(set_to_none=True)
        n = len(batch.clips)
        sums: dict[str, Tensor] = {}
        features = []
        positions = probe_positions(patchify(batch.clips, TUBELET, PATCH)[0])
        for start in range(0, n, self.max_clips):
            part = batch.part(start, min(start + self.max_clips, n))
            share = len(part.clips) / n
            with self._unsynced(last=start + self.max_clips >= n):
                with torch.autocast(part.clips.device.type, torch.bfloat16, enabled=self.bf16):
                    targets, tokens = self.teacher_runner(self.objective.targets, part.clips)
                    features.append(probe_tokens(tokens, positions))
                    terms: dict[str, Tensor] = self.model(part, targets)
                    loss = weighted_sum(terms, weights)
                (loss * share).backward()
            for name, value in {"loss": loss, **{f"loss_{k}": v for k, v in terms.items()}}.items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        return {**sums, **feature_statistics(torch.cat(features))}

    def _unsynced(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context in which DDP synchronises gradients in the last pass of a step only.

        With sharding, full gradients would not fit into memory, so every pass synchronises.
        """
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()
