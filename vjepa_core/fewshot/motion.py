"""Motion of the tissue between frames, and labels carried along it.

A label drawn on one frame says a lot about its neighbours: dense optical flow moves it there.
The carried label is the head's prior; the head corrects it where the image disagrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import Cancelled

REGISTERED_SHARE = 2 / 3
"""Weight of direct registration against chained flow."""

STEADY_ROUNDS = 2
"""How often registered positions are averaged along the motion."""

Grid = NDArray[np.float32]
"""Sampling positions (h, w, 2): for each pixel the (x, y) in another frame that shows the same tissue."""


def identity_grid(height: int, width: int) -> Grid:
    """Positions that map every pixel to itself, shape (height, width, 2)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1).astype(np.float32)


def warp(image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Sample an (h, w, channels) image at the positions of `grid`, bilinear, borders repeated."""
    moved = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32).reshape(*grid.shape[:2], -1)


class Motion:
    """Dense optical flow between consecutive frames of one cine, chained on request.

    Flow is DIS (Kroeger et al., ECCV 2016) as OpenCV has it. Positions are chained from frame to frame, then
    registered once more against the annotated frame itself; a weighted mean of both is used. Chains drift,
    the more the noisier the cine; registration errs anew on each frame, which is averaged out along the
    motion, and slips where the picture has changed. This mix held up best from little noise to much.
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
        self._identity = identity_grid(grid_size, grid_size)
        self._chains: dict[int, NDArray[np.float32]] = {}
        self._pairs: dict[tuple[int, int], Grid] = {}
        # to_previous[t]: for each pixel of frame t+1 its offset in frame t; to_next[t]: the other way round.
        self._to_previous: list[Grid] = []
        self._to_next: list[Grid] = []
        self._frames = frames
        self._flow = flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow.setFinestScale(0)
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
            chain = self._chain(source, range(self.n_frames))
            direct = np.stack([self._register(t, source, chain[t]) for t in range(self.n_frames)])
            for _ in range(STEADY_ROUNDS):
                direct = self.steady(direct)
            chained = np.stack([chain[t] for t in range(self.n_frames)])
            mixed = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chained
            mixed[source] = self._identity
            self._chains[source] = mixed
        return self._chains[source]

    def position(self, frame: int, source: int) -> Grid:
        """As `positions`, for one pair of frames and less steady; kept for the next time."""
        if source in self._chains:
            return self._chains[source][frame]
        if (frame, source) not in self._pairs:
            chain = self._chain(source, range(min(frame, source), max(frame, source) + 1))[frame]
            direct = self._register(frame, source, chain)
            self._pairs[frame, source] = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chain
        return self._pairs[frame, source]

    def steady(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average maps (T, grid, grid, channels) of every frame with its neighbours' along the motion.

        Errors that come and go from frame to frame are averaged out; what moves with the tissue stays.
        """
        out = maps.copy()
        for t in range(self.n_frames):
            n = 1
            if t > 0:
                out[t] += warp(maps[t - 1], self._identity + self._to_previous[t - 1])
                n += 1
            if t + 1 < self.n_frames:
                out[t] += warp(maps[t + 1], self._identity + self._to_next[t])
                n += 1
            out[t] /= n
        return out

    def _chain(self, source: int, frames: range) -> dict[int, Grid]:
        """Positions in `source` of each of `frames`, a run that holds it, from frame to frame."""
        chain = {source: self._identity}
        for t in range(source + 1, frames.stop):
            chain[t] = warp(chain[t - 1], self._identity + self._to_previous[t - 1])
        for t in range(source - 1, frames.start - 1, -1):
            chain[t] = warp(chain[t + 1], self._identity + self._to_next[t])
        return chain

    def there_and_back(self, maps: NDArray[np.float32], frame: int, turn: int) -> NDArray[np.float32]:
        """Carry maps (grid, grid, channels) of `frame` to frame `turn` and back: what flow does to them."""
        return warp(warp(maps, self.position(turn, frame)), self.position(frame, turn))

    def _register(self, frame: int, source: int, start: Grid) -> Grid:
        """Positions of `frame` in `source` by one flow between the two, begun from chained positions."""
        if frame == source:
            return self._identity
        edge = self._frames.shape[1]
        offset = cv2.resize(start - self._identity, (edge, edge), interpolation=cv2.INTER_LINEAR)
        offset = np.asarray(offset * (edge / self.grid_size), dtype=np.float32)
        found = self._flow.calc(self._frames[frame], self._frames[source], offset)
        return self._shrink(np.asarray(found, np.float32)) + self._identity

    def carry(
        self,
        labels: Mapping[int, NDArray[np.float32]],
        weights: Mapping[int, NDArray[np.float32]],
        frame: int,
    ) -> NDArray[np.float32]:
        """Maps of one frame, carried for each channel from the nearest frames that have it, on either side.

        Parameters
        ----------
        labels : frame -> float32 array (grid, grid, channels)
        weights : frame -> float32 array (grid, grid, channels)
            How much each value is known: 0 where a frame says nothing of a pixel or channel.
        frame : int
            The frame to fill.

        Returns
        -------
        float32 array (grid, grid, channels)
            NaN where no frame knows anything.
        """
        channels = next(iter(labels.values())).shape[2]
        out = np.empty((self.grid_size, self.grid_size, channels), np.float32)
        known = {source: weight.max((0, 1)) > 0 for source, weight in weights.items()}
        moved: dict[int, NDArray[np.float32]] = {}
        for channel in range(channels):
            usable = sorted(source for source in labels if known[source][channel])
            sources = [s for s in usable if s <= frame][-1:] + [s for s in usable if s > frame][:1]
            total = np.zeros((self.grid_size, self.grid_size, 2), np.float32)
            for source in sources:
                if source not in moved:
                    both = np.concatenate([labels[source] * weights[source], weights[source]], axis=2)
                    moved[source] = warp(both, self.positions(source)[frame])
                # The nearer label weighs more: flow errors grow with the number of frames crossed.
                nearness = 1.0 / (abs(frame - source) + 1e-3)
                total += nearness * moved[source][..., [channel, channels + channel]]
            with np.errstate(invalid="ignore"):
                out[..., channel] = np.where(total[..., 1] > 1e-6, total[..., 0] / total[..., 1], np.nan)
        return out
