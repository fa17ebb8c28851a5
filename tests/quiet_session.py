"""A learning session without an engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from app.domain.cine import Cine, Frame
from app.engine.events import Event


class QuietSession:
    """A session that records every call; tests call `on_event`."""

    made: list[QuietSession] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, *, cache_folder: Path, encoder: str, on_event: Callable[[Event], None]) -> None:
        self.encoder, self.on_event = encoder, on_event
        self.known: dict[int, Cine] = {}
        self.labels: list[tuple[int, int, dict[int, Frame], bool]] = []
        self.looks: list[tuple[int, int]] = []
        self.calls: list[str] = []
        self.stated: dict[int, tuple[int, ...]] = {}
        self.made.append(self)

    def open_cine(
        self, cine_id: int, cine: Cine, classes: tuple[int, ...], *, left_heart: bool = False
    ) -> None:
        self.known[cine_id] = cine

    def has_cine(self, cine_id: int) -> bool:
        return cine_id in self.known

    def set_labels(
        self,
        cine_id: int,
        revision: int,
        labels: Mapping[int, Frame],
        *,
        stated: Mapping[int, Collection[int]] | None = None,
        is_fitted: bool = False,
    ) -> None:
        self.stated = {} if stated is None else {f: tuple(values) for f, values in stated.items()}
        self.labels.append((cine_id, revision, dict(labels), is_fitted))

    def set_visible_frame(self, cine_id: int, frame: int) -> None:
        self.looks.append((cine_id, frame))

    def close_cine(self, cine_id: int) -> None:
        self.known.pop(cine_id, None)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_: self.calls.append(name)
