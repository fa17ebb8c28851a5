"""Statistics of the teacher's tokens at each step, and warnings of representation collapse."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

_POSITIONS = 32
_LIT = 16  # minimum grey level of the brightest pixel of a tubelet
_HISTORY = 50  # number of previous steps for comparison
_MIN_STD = 0.1
_MIN_RANK = 5.0  # design choice; an untrained ViT-Ti has about 70 on clips of 8 frames of 112 pixels
_DROP = 0.5
_HYSTERESIS = 1.5  # a warning ends when its value exceeds the limit by this factor


def probe_positions(tubelets: Tensor) -> Tensor:
    """Choose at most 32 token positions that are not dark in most clips, in a fixed random order.

    The order is random, because regular steps would select a few columns of the plane only. Dark positions
    are added if there are fewer than 32 others.

    Parameters
    ----------
    tubelets : Tensor
        Shape (B, N, P), uint8; see `encode.patchify`.

    Returns
    -------
    Tensor
        Token indices, int64.
    """
    n = tubelets.shape[1]
    lit = (tubelets.amax(-1) >= _LIT).float().mean(0) >= 0.5
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(tubelets.device)
    # Sort instead of selecting, because the number of lit positions would require synchronisation.
    rank = torch.arange(n, device=tubelets.device) + n * (~lit[order])
    return order[rank.argsort()[:_POSITIONS]]


def probe_tokens(tokens: Tensor, positions: Tensor) -> Tensor:
    """Select positions of each clip and apply layer norm: (B, N, D) to (B, P, D), float32."""
    chosen = tokens[:, positions].float()
    return layer_norm(chosen, chosen.shape[-1:])


def feature_statistics(tokens: Tensor) -> dict[str, Tensor]:
    """Compute statistics that reveal representation collapse.

    Parameters
    ----------
    tokens : Tensor
        Result of `probe_tokens`, shape (B, P, D).

    Returns
    -------
    dict of str to Tensor
        Scalars on the device. `feature_std`: standard deviation over all tokens, averaged over channels; 0 is
        collapse. `effective_rank`: RankMe (Garrido et al., 2023), the exponential of the entropy of the
        normalised singular values of the centred features; between 1 and D. `top_share`: fraction of the
        variance along the first principal direction. `position_share`: fraction of the variance explained by
        the position of a token; 1 means that clips are not distinguished. 0 for a single clip.
    """
    tokens = tokens.double()
    rows = tokens.flatten(0, 1)
    centred = rows - rows.mean(0)
    freedom = max(len(rows) - 1, 1)
    # Double precision: RankMe would count the rounding errors of collapsed features as directions.
    covariance = centred.T @ centred / freedom
    trace = covariance.diagonal().sum()
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    values = values * (values > 1e-12 * values[-1])
    shares = values.sqrt() / values.sqrt().sum().clamp(min=1e-20)
    rank = torch.special.entr(shares).sum().exp()
    top = values[-1] / trace.clamp(min=1e-20)
    if len(tokens) > 1:
        within = tokens.var(0).sum(-1).mean()  # over clips, at one position
        share = (1 - within / trace.clamp(min=1e-20)).clamp(0, 1)
    else:
        share = trace.new_zeros(())
    std = covariance.diagonal().sqrt().mean()
    statistics = {"feature_std": std, "effective_rank": rank, "top_share": top, "position_share": share}
    return {name: value.float() for name, value in statistics.items()}


class CollapseMonitor:
    """Compares statistics with those of previous steps and returns warnings, each once until it ends."""

    def __init__(self) -> None:
        self._past: dict[str, deque[float]] = {
            name: deque(maxlen=_HISTORY) for name in ("loss_jepa", "feature_std", "effective_rank")
        }
        self._active: set[str] = set()

    def update(self, numbers: Mapping[str, float]) -> list[str]:
        """Add the numbers of a step; return new warnings."""
        before = {name: median(past) if len(past) >= 10 else None for name, past in self._past.items()}
        std, rank = numbers["feature_std"], numbers["effective_rank"]
        loss = numbers["loss_jepa"]
        old_rank, old_loss, old_std = (before[k] for k in ("effective_rank", "loss_jepa", "feature_std"))

        def low(name: str, value: float, limit: float) -> bool:
            return value < limit * (_HYSTERESIS if name in self._active else 1.0)

        warnings = {
            "std": (
                low("std", std, _MIN_STD),
                f"All features are becoming the same (deviation {std:.3f}): the encoder is collapsing. "
                "Raise the EMA momentum or lower the learning rate.",
            ),
            "rank": (
                # Not in the first steps, because an untrained encoder may start with a low rank.
                old_rank is not None and low("rank", rank, _MIN_RANK),
                f"The features use {rank:.1f} directions only: the encoder is collapsing. "
                "Lower the learning rate, or start again with another seed.",
            ),
            "rank-fall": (
                old_rank is not None and rank < _DROP * old_rank,
                f"The effective rank of the features dropped from {old_rank or 0:.1f} to {rank:.1f} within "
                f"{_HISTORY} steps: a sign of partial collapse.",
            ),
            "loss-fall": (
                old_loss is not None and loss < _DROP * old_loss and old_std is not None and std < old_std,
                f"The loss dropped suddenly from {old_loss or 0:.3f} to {loss:.3f}, while the features "
                "became more similar: a sign of partial collapse, not of learning.",
            ),
        }
        for name, past in self._past.items():
            past.append(numbers[name])
        active = {name for name, (applies, _) in warnings.items() if applies}
        new = [warnings[name][1] for name in warnings if name in active - self._active]
        self._active = active
        return new

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"past": {k: list(v) for k, v in self._past.items()}, "said": sorted(self._active)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`."""
        for name, past in state["past"].items():
            self._past[name] = deque(past, maxlen=_HISTORY)
        self._active = set(state["said"])
