"""Motion of the tissue between frames, and labels carried along it.

A label drawn on one frame says a lot about its neighbours: dense optical flow moves it there.
The carried label is the head's prior; the head corrects it where the image disagrees.
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
"""Weight of direct registration against chained flow."""

STEADY_ROUNDS = 2
"""How often registered positions are averaged along the motion."""

BLOCK_FRAMES = 16
"""Positions are computed and kept for this many frames at a time: most labels are carried a few frames only,
and a whole long cine for each label would fill the memory."""

KEPT_BYTES = 128 << 20
"""Bound on the positions that one cine keeps, unless it shares a cache with others."""

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

    Positions take 0.1 MB a frame and label. They are computed where they are asked for and kept up to a
    bound; those that were dropped are computed again, with the same result.

    Parameters
    ----------
    frames : uint8 array (T, size, size)
        Letterboxed grey frames.
    grid_size : int
        Edge of the grid on which labels are carried.
    kept : BoundedCache, optional
        Where positions are kept; several cines may share one. Default one of its own of `KEPT_BYTES`.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        *,
        grid_size: int,
        kept: BoundedCache | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.n_frames = len(frames)
        self.grid_size = grid_size
        self._identity = identity_grid(grid_size, grid_size)
        self._kept = BoundedCache(KEPT_BYTES) if kept is None else kept
        self._token = object()  # tells this cine's positions from others' in a shared cache
        self._sources: set[int] = set()  # frames that labels were carried from
        self._lock = threading.Lock()  # the optical flow's buffers serve one caller at a time
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
        starts = range(0, self.n_frames, BLOCK_FRAMES)
        return np.concatenate([self._block(source, start) for start in starts])

    def position(self, frame: int, source: int) -> Grid:
        """As `positions` for one pair of frames; less steady where no label was carried from `source`."""
        if source in self._sources:
            return self._steady_position(frame, source)
        key = self._token, frame, source
        found = self._kept.get(key)
        if found is None:
            chain = self._chain(source, range(min(frame, source), max(frame, source) + 1))[frame]
            direct = self._register(frame, source, chain)
            found = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chain
            self._kept.put(key, found)
        return found

    def _steady_position(self, frame: int, source: int) -> Grid:
        start = frame - frame % BLOCK_FRAMES
        return np.asarray(self._block(source, start)[frame - start])

    def _block(self, source: int, start: int) -> NDArray[np.float32]:
        """Steady positions in `source` of up to `BLOCK_FRAMES` frames from `start` on."""
        self._sources.add(source)
        key = self._token, "block", source, start
        found = self._kept.get(key)
        if found is None:
            stop = min(start + BLOCK_FRAMES, self.n_frames)
            # Each round of averaging reaches one frame further.
            wide = range(max(0, start - STEADY_ROUNDS), min(stop + STEADY_ROUNDS, self.n_frames))
            chain = self._chain(source, range(min(wide.start, source), max(wide.stop, source + 1)))
            direct = np.stack([self._registered(t, source, chain[t]) for t in wide])
            for _ in range(STEADY_ROUNDS):
                direct = self.steady(direct, first=wide.start)
            chained = np.stack([chain[t] for t in wide])
            mixed = REGISTERED_SHARE * direct + (1 - REGISTERED_SHARE) * chained
            found = np.array(mixed[start - wide.start : stop - wide.start])  # a view would keep the rest
            if start <= source < stop:
                found[source - start] = self._identity
            self._kept.put(key, found)
        return found

    def _registered(self, frame: int, source: int, start: Grid) -> Grid:
        """As `_register`; frames that two blocks need are kept."""
        within = frame % BLOCK_FRAMES
        if STEADY_ROUNDS <= within < BLOCK_FRAMES - STEADY_ROUNDS:
            return self._register(frame, source, start)
        key = self._token, "registered", frame, source
        found = self._kept.get(key)
        if found is None:
            found = self._register(frame, source, start)
            self._kept.put(key, found)
        return found

    def steady(self, maps: NDArray[np.float32], *, first: int = 0) -> NDArray[np.float32]:
        """Average maps (N, grid, grid, channels), of frames from `first` on, with their neighbours'.

        The neighbours are warped along the motion first. Errors that come and go from frame to frame are
        averaged out; what moves with the tissue stays.
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
        with self._lock:
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
                    moved[source] = warp(both, self._steady_position(frame, source))
                # The nearer label weighs more: flow errors grow with the number of frames crossed.
                nearness = 1.0 / (abs(frame - source) + 1e-3)
                total += nearness * moved[source][..., [channel, channels + channel]]
            with np.errstate(invalid="ignore"):
                out[..., channel] = np.where(total[..., 1] > 1e-6, total[..., 0] / total[..., 1], np.nan)
        return out
