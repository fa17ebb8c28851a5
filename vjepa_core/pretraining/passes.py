"""Gradients of one step's clips, in as many passes as the memory asks for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.monitors import feature_health, probe_tokens
from vjepa_core.pretraining.objective import Draw, Objective, weighted

log = logging.getLogger(__name__)


class Passes:
    """Runs forward and backward.

    Parameters
    ----------
    objective : Objective
    model : Module
        The objective, or DDP around it.
    teacher : VisionTransformer3D
    micro : int
        Most clips in one pass; halved for good when the memory does not hold them.
    bf16 : bool
        Autocast to bfloat16.
    """

    def __init__(
        self, objective: Objective, model: nn.Module, teacher: VisionTransformer3D, *, micro: int, bf16: bool
    ) -> None:
        self.objective, self.model, self.teacher = objective, model, teacher
        self.micro, self.bf16 = micro, bf16

    def gradients(self, draw: Draw, weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Leave the mean gradient in the parameters; return loss, terms and feature numbers as scalars.

        Raises
        ------
        PretrainingError
            If a single clip does not fit, or there are other processes: those already wait for this one.
        """
        while True:
            try:
                return self._accumulate(draw, weights)
            except torch.OutOfMemoryError:
                smaller = self.micro // 2
                if isinstance(self.model, DistributedDataParallel) or not smaller:
                    hint = f"micro_batch = {smaller}" if smaller else "a smaller size or architecture"
                    raise PretrainingError(
                        f"{self.micro} clips at once do not fit the memory of a device: set {hint}."
                    ) from None
            # Only out here is the exception gone, and with it the tensors that it held.
            log.warning(
                "%d clips at once do not fit the memory: going on with %d at a time.", self.micro, smaller
            )
            self.micro = smaller
            if draw.clips.is_cuda:
                torch.cuda.empty_cache()

    def _accumulate(self, draw: Draw, weights: Mapping[str, float]) -> dict[str, Tensor]:
        self.objective.zero_grad(set_to_none=True)
        n = len(draw.clips)
        sums: dict[str, Tensor] = {}
        features = []
        for start in range(0, n, self.micro):
            part = draw.part(start, min(start + self.micro, n))
            share = len(part.clips) / n
            with self._unsynced(last=start + self.micro >= n):
                with torch.autocast(part.clips.device.type, torch.bfloat16, enabled=self.bf16):
                    targets, tokens = self.objective.targets(self.teacher, part.clips)
                    features.append(probe_tokens(tokens))
                    terms: dict[str, Tensor] = self.model(part, targets)
                    loss = weighted(terms, weights)
                (loss * share).backward()
            for name, value in {"loss": loss, **{f"loss_{k}": v for k, v in terms.items()}}.items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        return {**sums, **feature_health(torch.cat(features))}

    def _unsynced(self, *, last: bool) -> AbstractContextManager[Any]:
        """Under DDP gradients meet once a step, in the last pass."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()
