"""Cines of the user's projects as data of benchmarks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.scored_cines import ScoredCine

log = logging.getLogger(__name__)


def project_cines(project: Path, on_progress: Callable[[str, int, int], None]) -> list[ScoredCine]:
    """Read the cines of a project with their outlined frames; scribbles are skipped.

    Parameters
    ----------
    project : Path
    on_progress : callable
        Called with the stage, the frames done and the frames in all.

    Returns
    -------
    list of ScoredCine

    Raises
    ------
    ApicalError
        The project's structures are not those of the left heart.
    """
    from app.commands.labelled_cines import from_project, read_region
    from app.domain.labels import LEFT_HEART
    from vjepa_core.bench.scored_cines import ScoredCine

    with from_project(project) as annotated:
        if annotated.label_set.values != LEFT_HEART.values:
            raise ApicalError(
                f"{project.name} has other structures than left ventricle, myocardium and atrium: "
                "give a project with the left heart's labels."
            )
        scribbled = sum(one.n_scribbled for one in annotated.cines.values())
        if scribbled:
            log.warning("Scribbled frames of %s are skipped: %d.", project.name, scribbled)
        cines = [replace(one, labels=one.outlined) for one in annotated.cines.values()]
        pairs = [(*read_region(one, on_progress), one.cine) for one in cines]
    return [
        ScoredCine(frames, cine.timing.fps, labels, pixel_aspect=cine.pixel_aspect)
        for frames, labels, cine in pairs
    ]
