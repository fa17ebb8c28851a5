"""Cines, label images and facts as input of the measurements."""

from __future__ import annotations

import logging
from pathlib import Path

from app.commands.measured_view import cavity_dice, known_view, with_recognised
from app.commands.progress import Progress
from app.domain.cine import Cine
from app.domain.errors import ApicalError
from app.domain.labels import LabelSet
from app.domain.measure.cine_measurement import structure_values
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import ViewInput
from app.domain.views import View

log = logging.getLogger(__name__)

NO_CAVITY = "The label set has no LV cavity (SNOMED CT 87878005): give one with that code by --label-set."


def values_of(label_set: LabelSet) -> Values:
    """Return the label values of the left heart; ApicalError without an LV cavity."""
    values = structure_values(label_set)
    if values is None:
        raise ApicalError(NO_CAVITY)
    return values


def frames_of(path: Path, cine: Cine, ed: int | None, es: int | None) -> tuple[int, int] | None:
    """Return the frames that the user chose; ApicalError if the cine does not have one of them."""
    for frame in (ed, es):
        if frame is not None and not 0 <= frame < cine.n_frames:
            raise ApicalError(f"{path.name} has no frame {frame}: choose one from 0 to {cine.n_frames - 1}.")
    return None if ed is None or es is None else (ed, es)


def labelled_input(path: Path, labels_path: Path, label_set: LabelSet, view: str | None = None) -> ViewInput:
    """Return a cine with label images that were drawn elsewhere; ApicalError if they cannot be read."""
    from app.engine.sector import sector_of
    from app.readers.open import open_cine
    from app.storage.labels_io import read_labels_of

    cine = open_cine(path)
    try:
        labels = read_labels_of(cine, labels_path, label_set)
        inside = sector_of(cine, labels.values())
        stated, source = known_view(cine, view)
        given = ViewInput(cine, labels, stated, source, is_human=frozenset(labels), inside=inside)
        return given if stated is not None else with_recognised(given, _recognised(cine))
    finally:
        cine.source.close()


def _recognised(cine: Cine) -> View | None:
    """Return the recognised view; None, with a message in the log, if the encoder cannot be used."""
    from app.commands.recognised_view import recognise
    from vjepa_core.errors import CoreError

    try:
        with Progress() as progress:
            answer = recognise(cine, progress)
    except (ApicalError, CoreError) as error:
        log.warning("The view was not recognised: %s", error)
        return None
    return None if answer is None else answer.view


def drafted_input(path: Path, cavity: int, view: str | None = None) -> tuple[ViewInput, str]:
    """Return a cine with predicted masks, and why nothing was predicted ("" otherwise).

    Parameters
    ----------
    path : Path
    cavity : int
        Label value of the LV cavity in the left heart's label set.
    view : str, optional
        View that the user chose; default that of the file.
    """
    from app.commands.drafted import draft
    from app.readers.open import open_cine

    cine = open_cine(path)
    try:
        with Progress() as progress:
            found = draft(cine, progress)
    finally:
        cine.source.close()
    stated, source = known_view(cine, view)
    given = ViewInput(
        cine,
        found.labels,
        stated,
        source,
        structure_dice=cavity_dice(found.structure_dice, cavity),
        expected_dice=found.expected_dice,
        inside=found.inside,
    )
    return with_recognised(given, found.view), found.reason
