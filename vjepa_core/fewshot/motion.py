"""Motion of the tissue between frames, and labels carried along it.

Dense optical flow carries the label of one frame to its neighbours. The carried label is the prior of the
head, which corrects it where the image disagrees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.bounded_cache import BoundedCache

REGISTERED_SHARE = 2 / 3
"""Weight of direct registration relative to chained flow."""

SMOOTHING_ROUNDS = 2
"""Rounds of averaging registered positions along the motion."""

BLOCK_FRAMES = 16
"""Number of frames for which positions are computed and cached together: most labels are carried over a few
frames only, and the positions of all frames of a long cine for each label would exhaust the memory."""

CACHE_BYTES = 128 << 20
"""Size in bytes of the position cache of a cine that does not share one with others."""

Grid = NDArray[np.float32]
"""Sampling positions (h, w, 2): for each pixel, the (x, y) of the same tissue in another frame."""


def identity_grid(height: int, width: int) -> Grid:
    """Return positions that map every pixel to itself, (height, width, 2)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1).astype(np.float32)


def warp(image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Sample an (h, w, channels) image at the positions of `grid`, bilinearly, with repeated borders."""
    moved = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32).reshape(*grid.shape[:2], -1)


class Motion:
    """Dense optical flow between consecutive frames of one cine, chained on request.

    The flow is OpenCV's DIS (Kroeger et al., ECCV 2016). Positions are chained from frame to frame, then
    registered directly to the annotated frame, and the weighted mean of both is used. Chains drift, in
    particular in noisy cines. The errors of registration are independent between frames and are averaged out
    along the motion, but registration fails where the image has changed. The label is sampled once, so its
    border stays sharp.

    Positions take 0.1 MB per frame and label. They are computed on request and cached up to a limit.

    Parameters
    ----------
    frames : uint8 array (T, size, size)
        Letterboxed grey frames.
    grid_size : int
        Side of the grid on which labels are carried.
    cache : BoundedCache, optional
        Cache of positions, which several cines may share; default: one of `CACHE_BYTES`.
    on_progress : callable, optional
        Called with (finished pairs of frames, total).
    should_stop : callable
        Called before each pair of frames.

    Raises
    ------
    Cancelled
        If `should_stop` returned True.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        *,
        grid_size: int,
        cache: BoundedCache | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.n_frames = len(frames)
        self.grid_size = grid_size
        self._identity = identity_grid(grid_size, grid_size)
        self._cache = BoundedCache(CACHE_BYTES) if cache is None else cache
        self._token = object()  # key of this cine in a shared cache
        self._sources: set[int] = set()  # frames from which labels were carried
        self._lock = threading.Lock()  # the buffers of the optical flow are not thread-safe
        # to_previous[t]: offset in frame t for each pixel of frame t + 1; to_next[t]: the opposite direction.
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
        """Return the position in frame `source` of each pixel of every frame, (T, grid, grid, 2)."""
        starts = range(0, self.n_frames, BLOCK_FRAMES)
        return np.concatenate([self._block(source, start) for start in starts])

    def position(self, frame: int, source: int) -> Grid:
        """Return `positions` of one frame; less smooth over time if no label was carried from `source`."""
        if source in self._sources:
            return self._smooth_position(frame, source)
        key = self._token, frame, source
        position = self._cache.get(key)
        if position is None:
            chain = self._chain(source, range(min(frame, source), max(frame, source) + 1))[frame]
            direct = self._register(frame, source, chain)
            position = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chain
            self._cache.put(key, position)
        return position

    def _smooth_position(self, frame: int, source: int) -> Grid:
        start = frame - frame % BLOCK_FRAMES
        return np.asarray(self._block(source, start)[frame - start])

    def _block(self, source: int, start: int) -> NDArray[np.float32]:
        """Return smoothed positions in `source` of up to `BLOCK_FRAMES` frames, (N, grid, grid, 2)."""
        self._sources.add(source)
        key = self._token, "block", source, start
        positions = self._cache.get(key)
        if positions is None:
            stop = min(start + BLOCK_FRAMES, self.n_frames)
            # Each round of averaging uses one more frame on either side.
            wide = range(max(0, start - SMOOTHING_ROUNDS), min(stop + SMOOTHING_ROUNDS, self.n_frames))
            chain = self._chain(source, range(min(wide.start, source), max(wide.stop, source + 1)))
            direct = np.stack([self._registered(t, source, chain[t]) for t in wide])
            for _ in range(SMOOTHING_ROUNDS):
                direct = self.smooth(direct, first=wide.start)
            chained = np.stack([chain[t] for t in wide])
            mixed = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chained
            # Copied, because a view would keep the rest in memory.
            positions = np.array(mixed[start - wide.start : stop - wide.start])
            if start <= source < stop:
                positions[source - start] = self._identity
            self._cache.put(key, positions)
        return positions

    def _registered(self, frame: int, source: int, start: Grid) -> Grid:
        """Return the result of `_register`, cached for frames that two blocks need."""
        within = frame % BLOCK_FRAMES
        if SMOOTHING_ROUNDS <= within < BLOCK_FRAMES - SMOOTHING_ROUNDS:
            return self._register(frame, source, start)
        key = self._token, "registered", frame, source
        position = self._cache.get(key)
        if position is None:
            position = self._register(frame, source, start)
            self._cache.put(key, position)
        return position

    def smooth(self, maps: NDArray[np.float32], *, first: int = 0) -> NDArray[np.float32]:
        """Average maps of consecutive frames with their neighbours after warping these along the motion.

        Errors that are independent between frames are averaged out.

        Parameters
        ----------
        maps : array
            (N, grid, grid, channels) float32.
        first : int
            Frame of the first map.
        """
        out = maps.copy()
        for i in range(len(maps)):
            n = 1
            if i > 0:
                out[i] += warp(maps[i - 1], self._identity + self._to_previous[first + i - 1])
                n += 1
            if i + 1 < len(maps):
                out[i] += warp(maps[i + 1], self._identity + self._to_next[first + i])
                n += 1
            out[i] /= n
        return out

    def _chain(self, source: int, frames: range) -> dict[int, Grid]:
        """Return positions in `source` for `frames`, which include it, chained from frame to frame."""
        chain = {source: self._identity}
        for t in range(source + 1, frames.stop):
            chain[t] = warp(chain[t - 1], self._identity + self._to_previous[t - 1])
        for t in range(source - 1, frames.start - 1, -1):
            chain[t] = warp(chain[t + 1], self._identity + self._to_next[t])
        return chain

    def there_and_back(self, maps: NDArray[np.float32], frame: int, turn: int) -> NDArray[np.float32]:
        """Carry maps (grid, grid, channels) of `frame` to frame `turn` and back, including flow errors."""
        return warp(warp(maps, self.position(turn, frame)), self.position(frame, turn))

    def _register(self, frame: int, source: int, start: Grid) -> Grid:
        """Return positions of `frame` in `source` from one flow, initialised with chained positions."""
        if frame == source:
            return self._identity
        edge = self._frames.shape[1]
        offset = cv2.resize(start - self._identity, (edge, edge), interpolation=cv2.INTER_LINEAR)
        offset = np.asarray(offset * (edge / self.grid_size), dtype=np.float32)
        with self._lock:
            flow = self._flow.calc(self._frames[frame], self._frames[source], offset)
        return self._shrink(np.asarray(flow, np.float32)) + self._identity

    def carry(
        self,
        labels: Mapping[int, NDArray[np.float32]],
        weights: Mapping[int, NDArray[np.float32]],
        frame: int,
    ) -> NDArray[np.float32]:
        """Carry labels to a frame, each channel from the nearest frame on either side that has it.

        Parameters
        ----------
        labels : mapping
            Frame number to float32 array (grid, grid, channels).
        weights : mapping
            Frame number to float32 array (grid, grid, channels), 0 where a value is unknown.
        frame : int
            Target frame.

        Returns
        -------
        float32 array (grid, grid, channels)
            NaN where no label gives a value.
        """
        channels = next(iter(labels.values())).shape[2]
        out = np.empty((self.grid_size, self.grid_size, channels), np.float32)
        has_channel = {source: weight.max((0, 1)) > 0 for source, weight in weights.items()}
        moved: dict[int, NDArray[np.float32]] = {}
        for channel in range(channels):
            usable = sorted(source for source in labels if has_channel[source][channel])
            sources = [s for s in usable if s <= frame][-1:] + [s for s in usable if s > frame][:1]
            total = np.zeros((self.grid_size, self.grid_size, 2), np.float32)
            for source in sources:
                if source not in moved:
                    both = np.concatenate([labels[source] * weights[source], weights[source]], axis=2)
                    moved[source] = warp(both, self._smooth_position(frame, source))
                # Errors of the flow grow with the number of frames in between.
                nearness = 1.0 / (abs(frame - source) + 1e-3)
                total += nearness * moved[source][..., [channel, channels + channel]]
            with np.errstate(invalid="ignore"):
                out[..., channel] = np.where(total[..., 1] > 1e-6, total[..., 0] / total[..., 1], np.nan)
        return out
