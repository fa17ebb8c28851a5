"""Encoder features of a whole cine, from overlapping clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder.normalise import normalise
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import Cancelled

CLIP_FRAMES = 16
GPU_BATCH = 8  # clips; ViT-S then needs less than 2 GiB


@dataclass(frozen=True, eq=False)
class CineFeatures:
    """Features of a cine for every tubelet.

    Attributes
    ----------
    values : Tensor
        (L, T', H', W', D) float16 on the CPU: L depths, T' tubelets, grid of tokens.
    times : Tensor
        (T',) float64, centre of each tubelet in frames of the cine, increasing.
    """

    values: Tensor
    times: Tensor

    def at(self, frame: float) -> Tensor:
        """Return the features at one frame number, (L, H', W', D) float32; see `at_many`."""
        return self.at_many([frame])[0]

    def at_many(self, frames: Sequence[float]) -> Tensor:
        """Return features at frame numbers, interpolated linearly between the centres of tubelets.

        Parameters
        ----------
        frames : sequence of float
            Frame numbers of the cine. Before the first centre and after the last, the nearest one is used.

        Returns
        -------
        Tensor
            (len(frames), L, H', W', D) float32.
        """
        wanted = torch.as_tensor(np.asarray(frames, np.float64)).clamp(self.times[0], self.times[-1])
        right = torch.searchsorted(self.times, wanted).clamp(max=len(self.times) - 1)
        left = (right - 1).clamp(min=0)
        gap = (self.times[right] - self.times[left]).clamp(min=1e-9)
        share = ((wanted - self.times[left]) / gap).clamp(0, 1).float().view(-1, 1, 1, 1, 1)
        before, after = (self.values[:, side].transpose(0, 1).float() for side in (left, right))
        return torch.lerp(before, after, share)


@dataclass(eq=False)
class PartialFeatures:
    """Partial result of `extract`, to resume after it was cancelled.

    Attributes
    ----------
    values : Tensor, optional
        Sum over the finished clips; shape as in `CineFeatures`.
    done : set of int
        Indices of the finished clips in the plan.
    """

    values: Tensor | None = None
    done: set[int] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """Division of a cine into clips.

    Attributes
    ----------
    frames : array
        (S,) int64, frame of the cine at each sampled position, with padding; S >= clip, and even.
    starts : tuple of int
        First sampled position of each clip, even and increasing; the last clip ends at S.
    clip : int
        Number of sampled positions in a clip.
    tubelets : int
        Number of tubelets with a frame that is not padding; tubelet i has the positions 2i and 2i + 1.
    """

    frames: NDArray[np.int64]
    starts: tuple[int, ...]
    clip: int
    tubelets: int

    @property
    def times(self) -> NDArray[np.float64]:
        """(tubelets,) float64, centre of each tubelet in frames of the cine."""
        return self.frames.reshape(-1, 2).mean(1)[: self.tubelets]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(clips, S / 2) float64, weight of each clip in each tubelet; the sum over clips is 1.

        The weight is largest at the centre of a clip, where a token has as much context before as after.
        At most two clips contribute, so that the sum is bit-identical in any order.
        """
        inside = self.clip // 2
        triangle = np.minimum(np.arange(inside) + 1, inside - np.arange(inside)).astype(np.float64)
        shares = np.zeros((len(self.starts), len(self.frames) // 2))
        for row, start in zip(shares, self.starts, strict=True):
            row[start // 2 : start // 2 + inside] = triangle
        smaller = np.argsort(-shares, axis=0, kind="stable")[2:]
        np.put_along_axis(shares, smaller, 0.0, axis=0)
        return np.asarray(shares / shares.sum(0))


def temporal_stride(fps: float, target_fps: float) -> int:
    """Return the sampling interval in frames for a rate near `target_fps`; 1 if `fps` is unknown (0)."""
    return max(1, round(fps / target_fps)) if fps > 0 and target_fps > 0 else 1


def plan_clips(
    n_frames: int, stride_frames: int = 1, clip: int = CLIP_FRAMES, overlap: int | None = None
) -> ClipPlan:
    """Divide a cine into overlapping clips of sampled frames.

    Parameters
    ----------
    n_frames : int
        Number of frames of the cine, at least 1.
    stride_frames : int
        Sampling interval in frames.
    clip, overlap : int
        Number of sampled frames in a clip, and number shared by neighbouring clips (default: half a clip);
        both even.

    Returns
    -------
    ClipPlan
        An odd number of samples is padded with the last one; less than a clip is padded by reflection.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    overlap = clip // 2 if overlap is None else overlap
    if n_frames < 1 or stride_frames < 1 or clip < 2 or clip % 2 or overlap % 2 or not 0 <= overlap < clip:
        raise ValueError(
            f"cannot cut {n_frames} frames, stride {stride_frames}: clip {clip}, overlap {overlap}"
        )
    sampled = np.arange(0, n_frames, stride_frames)
    sampled = np.pad(sampled, (0, len(sampled) % 2), mode="edge")
    tubelets = len(sampled) // 2
    sampled = np.pad(sampled, (0, max(0, clip - len(sampled))), mode="reflect")
    last = len(sampled) - clip
    starts = (*range(0, last, clip - overlap), last)
    return ClipPlan(sampled.astype(np.int64), starts, clip, tubelets)


def extract(
    encoder: VisionTransformer3D,
    frames: NDArray[np.uint8],
    *,
    fps: float,
    target_fps: float = 30.0,
    depths: Sequence[int] = (2, 5, 8, 11),
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    order_from: int | None = None,
    partial: PartialFeatures | None = None,
    on_partial: Callable[[CineFeatures, Tensor], None] | None = None,
) -> CineFeatures:
    """Compute the features of every tubelet of a cine, on the device of the encoder.

    Parameters
    ----------
    encoder : VisionTransformer3D
        Encoder in evaluation mode.
    frames : array
        (T, H, W) uint8, letterboxed; T >= 1.
    fps, target_fps : float
        Frame rate of the cine (0 if unknown), and that of the encoder, Hz.
    depths : sequence of int
        Blocks whose normalised tokens are returned.
    on_progress : callable, optional
        Called with (clips done, total), first with 0 clips done.
    should_stop : callable, optional
        Called before each clip or batch of clips.
    order_from : int, optional
        Clips are computed outward from this frame; default: in order of time.
    partial : PartialFeatures, optional
        Result of an earlier call for the same frames, encoder and rates that was cancelled; its clips are not
        computed again. Updated for the next call.
    on_partial : callable, optional
        Called after every batch with the features so far, whose tensors are updated by later batches, and a
        mask (T',) bool of the final tubelets.

    Returns
    -------
    CineFeatures
        The result does not depend on the order of the clips.

    Raises
    ------
    Cancelled
        If `should_stop` returned True.
    ValueError
        If `frames` are not uint8 images (T, H, W).
    """
    if frames.dtype != np.uint8 or frames.ndim != 3 or not len(frames):
        raise ValueError(f"expected uint8 frames (T, H, W), got {frames.dtype} {frames.shape}")
    plan = plan_clips(len(frames), temporal_stride(fps, target_fps))
    device = next(encoder.parameters()).device
    batch = GPU_BATCH if device.type == "cuda" else 1
    order = np.arange(len(plan.starts))
    if order_from is not None:
        centres = [plan.frames[start : start + plan.clip].mean() for start in plan.starts]
        order = np.argsort(np.abs(np.asarray(centres) - order_from), kind="stable")
    weights = plan.weights
    state = partial or PartialFeatures()
    values = state.values
    times = torch.from_numpy(plan.times)
    order = np.array([clip for clip in order if clip not in state.done], np.intp)
    before, total = len(state.done), len(plan.starts)
    for done in range(0, len(order), batch):
        _report(on_progress, before + done, total)
        if should_stop is not None and should_stop():
            raise Cancelled
        chosen = order[done : done + batch]
        positions = [plan.frames[start : start + plan.clip] for start in (plan.starts[i] for i in chosen)]
        clips = torch.from_numpy(frames[np.stack(positions)]).to(device)
        grids = _encode(encoder, clips, depths)
        if values is None:
            values = torch.zeros(len(grids), len(times), *grids.shape[3:], dtype=torch.float16)
            state.values = values
        for index, grid in zip(chosen, grids.unbind(1), strict=True):
            first = plan.starts[index] // 2
            count = min(plan.clip // 2, len(times) - first)
            share = torch.from_numpy(weights[index, first : first + count]).float().view(1, -1, 1, 1, 1)
            values[:, first : first + count] += (grid[:, :count] * share).half()
        state.done.update(chosen.tolist())
        if on_partial is not None:
            missing = weights[order[done + batch :], : len(times)].sum(0) > 0
            on_partial(CineFeatures(values, times), torch.from_numpy(~missing))
    _report(on_progress, total, total)
    assert values is not None  # noqa: S101 - a plan has at least one clip
    return CineFeatures(values, times)


def _report(on_progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(done, total)


@torch.inference_mode()
def _encode(encoder: VisionTransformer3D, clips: Tensor, depths: Sequence[int]) -> Tensor:
    """Encode clips (B, T, H, W) uint8 to (L, B, T', H', W', D) float32 on the CPU."""
    grids = encoder.forward_intermediates(normalise(clips), depths)
    return torch.stack([grid.float().cpu() for grid in grids if isinstance(grid, Tensor)])
