"""Motion of the tissue between frames, and labels carried along it.

A label drawn on one frame says a lot about its neighbours: dense optical flow moves it there.
The carried label is the head's prior; the head corrects it where the image disagrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import Cancelled

Grid = NDArray[np.float32]
"""Sampling positions (h, w, 2): for each pixel the (x, y) in another frame that shows the same tissue."""


def identity_grid(height: int, width: int) -> Grid:
    """Positions that map every pixel to itself, shape (height, width, 2)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def warp(image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Sample an (h, w, channels) image at the positions of `grid`, bilinear, borders repeated."""
    return cv2.remap(
        image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(*grid.shape[:2], -1)


class Motion:
    """Dense optical flow between consecutive frames of one cine, chained on request.

    Flow is DIS (Kroeger et al., ECCV 2016) as OpenCV has it. Positions are chained from frame to frame, then
    registered once more against the annotated frame itself; the mean of both is used. Chains drift and direct
    registration slips on new speckle: on pseudo-cines the mean held up best over the whole range of noise.
    The label is sampled once, so its border stays sharp.

    Parameters
    ----------
    frames : uint8 array (T, size, size)
        Letterboxed grey frames.
    grid_size : int
        Edge of the grid on which labels are carried.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        *,
        grid_size: int,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.n_frames = len(frames)
        self.grid_size = grid_size
        self._chains: dict[int, NDArray[np.float32]] = {}
        # to_previous[t]: for each pixel of frame t+1 its offset in frame t; to_next[t]: the other way round.
        self._to_previous: list[Grid] = []
        self._to_next: list[Grid] = []
        self._frames = frames
        self._flow = flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow.setFinestScale(1)
        for t in range(self.n_frames - 1):
            if should_stop():
                raise Cancelled
            self._to_previous.append(self._shrink(flow.calc(frames[t + 1], frames[t], None)))  # type: ignore[call-overload]
            self._to_next.append(self._shrink(flow.calc(frames[t], frames[t + 1], None)))  # type: ignore[call-overload]
            if on_progress is not None:
                on_progress(t + 1, self.n_frames - 1)

    def _shrink(self, flow: NDArray[np.float32]) -> Grid:
        scale = self.grid_size / flow.shape[0]
        size = (self.grid_size, self.grid_size)
        return np.asarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * scale, dtype=np.float32)

    def positions(self, source: int) -> NDArray[np.float32]:
        """Where each pixel of every frame lies in frame `source`, shape (T, grid, grid, 2)."""
        if source not in self._chains:
            base = identity_grid(self.grid_size, self.grid_size)
            chain = np.empty((self.n_frames, *base.shape), dtype=np.float32)
            chain[source] = base
            for t in range(source + 1, self.n_frames):
                chain[t] = warp(chain[t - 1], base + self._to_previous[t - 1])
            for t in range(source - 1, -1, -1):
                chain[t] = warp(chain[t + 1], base + self._to_next[t])
            for t in range(self.n_frames):
                if t != source:
                    chain[t] = 0.5 * (chain[t] + self._register(t, source, chain[t] - base) + base)
            self._chains[source] = chain
        return self._chains[source]

    def _register(self, frame: int, source: int, offset: Grid) -> Grid:
        """Flow from `frame` straight to `source`, started from a chained offset, on the label grid."""
        edge = self._frames.shape[1]
        start = cv2.resize(offset, (edge, edge), interpolation=cv2.INTER_LINEAR) * (edge / self.grid_size)
        found = self._flow.calc(self._frames[frame], self._frames[source], start.astype(np.float32))
        return self._shrink(found)

    def carry(
        self, labels: Mapping[int, NDArray[np.float32]], frames: Sequence[int], *, leave_out: bool = False
    ) -> NDArray[np.float32]:
        """Label probabilities on `frames`, carried from the nearest annotated frame on either side.

        Parameters
        ----------
        labels : frame -> float32 array (grid, grid, channels), soft one-hot
        frames : frames to fill
        leave_out : bool
            Leave out a frame's own label, as if it had not been drawn; needs another annotated frame.

        Returns
        -------
        float32 array (len(frames), grid, grid, channels)
        """
        carried = []
        for frame in frames:
            usable = sorted(f for f in labels if not (leave_out and f == frame))
            before = [f for f in usable if f <= frame][-1:]
            after = [f for f in usable if f > frame][:1]
            sources = before + after
            if not sources:
                raise ValueError(f"no label to carry to frame {frame}")
            # The nearer label weighs more: flow errors grow with the number of frames crossed.
            weights = np.array([1.0 / (abs(frame - s) + 1e-3) for s in sources], dtype=np.float32)
            weights /= weights.sum()
            carried.append(
                sum(
                    w * warp(labels[s], self.positions(s)[frame])
                    for w, s in zip(weights, sources, strict=True)
                )
            )
        return np.stack(carried)
