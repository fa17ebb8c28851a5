"""Cines with the labels drawn on them, from a project or from files, to learn from outside the window."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.commands.segment import decode
from app.domain.cine import Cine, Frame
from app.domain.errors import ApicalError, CineError, LabelError
from app.domain.labels import LEFT_HEART, LabelSet
from app.readers.open import open_cine
from app.storage import schema
from app.storage.labels_io import read_labels
from app.storage.project import Project
from app.storage.records import CineRecord
from app.storage.relocate import relocate
from vjepa_core.label_image import is_outlined, structure_mask

log = logging.getLogger(__name__)

_MOST_HASHED = 50


@dataclass(frozen=True, eq=False)
class Labelled:
    """An open cine and the label images (height, width) of its frames, scribbles among them."""

    cine: Cine
    labels: Mapping[int, Frame]

    @property
    def outlined(self) -> dict[int, Frame]:
        """The label images that say where structures end: what a mask can be measured with."""
        return {frame: label for frame, label in self.labels.items() if is_outlined(label)}

    @property
    def scribbled(self) -> int:
        """How many frames name structures and leave much open."""
        return sum(bool(structure_mask(label).any()) for label in self.labels.values()) - len(self.outlined)


@dataclass(frozen=True, eq=False)
class Study:
    """Cines with outlined frames by number, what the labels mean, and how many could not be opened."""

    cines: Mapping[int, Labelled]
    label_set: LabelSet
    missing: int = 0

    @property
    def outlined_frames(self) -> int:
        return sum(len(one.outlined) for one in self.cines.values())


@contextlib.contextmanager
def from_files(cine: Path, labels: Path) -> Iterator[Study]:
    """One cine, numbered 1, with label images drawn elsewhere; CineError or LabelError if they are unfit."""
    opened = open_cine(cine)
    try:
        shape = (opened.n_frames, opened.height, opened.width)
        affine, spacing_mm = opened.affine, opened.spacing_mm
        one = Labelled(opened, read_labels(labels, shape, LEFT_HEART, affine=affine, spacing_mm=spacing_mm))
        if not one.outlined:
            raise LabelError(
                f"{labels.name} holds scribbles alone: label all pixels of at least one frame, with 0 where "
                "there is no structure."
            )
        yield Study({1: one}, LEFT_HEART)
    finally:
        opened.source.close()


@contextlib.contextmanager
def from_project(path: Path) -> Iterator[Study]:
    """The cines of a project with outlined frames; it may be open in the window: it is read, not written.

    Raises
    ------
    ProjectError
        If it is no project, or damaged.
    LabelError, CineError
        If nothing is drawn in it, or none of its cines can be opened.
    """
    label_set, drawn = _snapshot(path)
    if not drawn:
        raise LabelError(
            f"Nothing is outlined in {path.name} yet: outline a structure on two frames of a cine."
        )
    opened: dict[int, Labelled] = {}
    try:
        for record, labels in drawn:
            cine = _open(record, path.resolve().parent)
            if cine is not None:
                opened[record.id] = Labelled(cine, labels)
        missing = len(drawn) - len(opened)
        if not opened:
            raise CineError(
                f"None of the labelled cines of {path.name} is where it was: open the project in the window "
                "to find them again."
            )
        if missing:
            log.warning("%d labelled cines are no longer where they were, and are left out.", missing)
        yield Study(opened, label_set, missing)
    finally:
        for one in opened.values():
            one.cine.source.close()


def _snapshot(path: Path) -> tuple[LabelSet, list[tuple[CineRecord, dict[int, Frame]]]]:
    """All that is committed at this moment, by way of a copy: the window keeps the project for itself."""
    schema.check_header(path)
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        copy = Path(folder) / path.name
        schema.copy(path, copy)
        with Project.open(copy) as project:
            drawn = []
            for record in project.cines():
                labels = project.annotations(record.id)
                if any(map(is_outlined, labels.values())):
                    drawn.append((record, labels))
            return project.label_set, drawn


def _open(record: CineRecord, beside: Path) -> Cine | None:
    """The cine of a record where it was, or found again by its content; None if it is not."""
    folders = [beside] if record.path is None else [record.path.parent, beside]
    found = relocate(record, folders, _content_hash, max_hashed=_MOST_HASHED)
    if found is None:
        return None
    try:
        return open_cine(found)
    except ApicalError:
        return None


def _content_hash(path: Path) -> str:
    cine = open_cine(path)
    cine.source.close()
    return cine.content_hash


def pixels(
    one: Labelled, progress: Callable[[str, int, int], None]
) -> tuple[NDArray[np.uint8], dict[int, Frame]]:
    """Frames (T, h, w) of the region that holds all labels, and the labels there, (h, w) each.

    Damaged frames repeat the one before; their labels are left out.
    """
    box = one.cine.region.extended_to(one.labels.values())
    frames, damaged = decode(one.cine, box, progress)
    return frames, {f: label[box.slices] for f, label in one.labels.items() if f not in damaged}
