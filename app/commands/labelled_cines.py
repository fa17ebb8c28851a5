"""Cines with labels, from a project or from files, for commands that fit heads."""

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
from app.domain.labels import LabelSet
from app.readers.open import open_cine
from app.storage import schema
from app.storage.labels_io import read_labels_of
from app.storage.project import Project
from app.storage.records import CineRecord
from app.storage.relocate import relocate
from vjepa_core.label_image import is_outlined, structure_mask

log = logging.getLogger(__name__)

_MAX_HASHED = 50


@dataclass(frozen=True, eq=False)
class AnnotatedCine:
    """An open cine and its label images.

    Attributes
    ----------
    cine : Cine
    labels : mapping
        Label image (height, width) by frame; some may be scribbles.
    """

    cine: Cine
    labels: Mapping[int, Frame]

    @property
    def outlined(self) -> dict[int, Frame]:
        """Label images that are not scribbles, with which a mask can be compared."""
        return {frame: label for frame, label in self.labels.items() if is_outlined(label)}

    @property
    def n_scribbled(self) -> int:
        """Number of scribbled frames."""
        return sum(bool(structure_mask(label).any()) for label in self.labels.values()) - len(self.outlined)


@dataclass(frozen=True, eq=False)
class AnnotatedCines:
    """Cines with outlined frames.

    Attributes
    ----------
    cines : mapping
        AnnotatedCine by number.
    label_set : LabelSet
    missing : int
        Number of cines that could not be opened.
    """

    cines: Mapping[int, AnnotatedCine]
    label_set: LabelSet
    missing: int = 0

    @property
    def n_outlined(self) -> int:
        """Number of outlined frames."""
        return sum(len(one.outlined) for one in self.cines.values())


@contextlib.contextmanager
def from_files(cine: Path, labels: Path, label_set: LabelSet) -> Iterator[AnnotatedCines]:
    """Open one cine, with the number 1, and its label images that were drawn elsewhere.

    Raises
    ------
    CineError, LabelError
        If they cannot be read, or do not fit.
    """
    opened = open_cine(cine)
    try:
        one = AnnotatedCine(opened, read_labels_of(opened, labels, label_set))
        if not one.outlined:
            raise LabelError(
                f"{labels.name} contains only scribbles: label all pixels of at least one frame, with 0 "
                "where there is no structure."
            )
        yield AnnotatedCines({1: one}, label_set)
    finally:
        opened.source.close()


@contextlib.contextmanager
def from_project(path: Path) -> Iterator[AnnotatedCines]:
    """Open the cines of a project that have outlined frames; the project may be open in the window.

    Raises
    ------
    ProjectError
        If it is not a project, or damaged.
    LabelError, CineError
        If nothing is outlined in it, or none of its cines can be opened.
    """
    label_set, annotated = _snapshot(path)
    if not annotated:
        raise LabelError(
            f"Nothing is outlined in {path.name} yet: outline a structure on two frames of a cine."
        )
    opened: dict[int, AnnotatedCine] = {}
    try:
        for record, labels in annotated:
            cine = open_record(record, path.resolve().parent)
            if cine is not None:
                opened[record.id] = AnnotatedCine(cine, labels)
        missing = len(annotated) - len(opened)
        if not opened:
            raise CineError(
                f"None of the labelled cines of {path.name} is where it was: open the project in the window "
                "to find them again."
            )
        if missing:
            log.warning("%d labelled cines were not found, and are left out.", missing)
        yield AnnotatedCines(opened, label_set, missing)
    finally:
        for one in opened.values():
            one.cine.source.close()


def _snapshot(path: Path) -> tuple[LabelSet, list[tuple[CineRecord, dict[int, Frame]]]]:
    """Read the committed content from a copy, because the window locks the project."""
    schema.check_header(path)
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        copy = Path(folder) / path.name
        schema.copy(path, copy)
        with Project.open(copy) as project:
            annotated = []
            for record in project.cines():
                labels = project.annotations(record.id)
                if any(map(is_outlined, labels.values())):
                    annotated.append((record, labels))
            return project.label_set, annotated


def open_record(record: CineRecord, folder: Path) -> Cine | None:
    """Open the cine of a record where it was, or where its content is found; None if it is missing."""
    folders = [folder] if record.path is None else [record.path.parent, folder]
    found = relocate(record, folders, _content_hash, max_hashed=_MAX_HASHED)
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


def read_region(
    one: AnnotatedCine, progress: Callable[[str, int, int], None]
) -> tuple[NDArray[np.uint8], dict[int, Frame]]:
    """Decode the region that contains all labels.

    Returns
    -------
    frames : (T, h, w) uint8
        A damaged frame repeats a neighbour.
    labels : dict
        Label image (h, w) by frame, without damaged frames.
    """
    box = one.cine.region.extended_to(one.labels.values())
    frames, damaged = decode(one.cine, box, progress)
    return frames, {f: label[box.slices] for f, label in one.labels.items() if f not in damaged}
