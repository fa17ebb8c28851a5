"""Cines that a user gives a benchmark to be measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.scored_cines import ScoredCine


def project_cines(project: Path, on_progress: Callable[[str, int, int], None]) -> list[ScoredCine]:
    """The labelled cines of a project; ApicalError where its structures are not those of the left heart."""
    from app.commands.labelled import from_project, pixels
    from app.domain.labels import LEFT_HEART
    from vjepa_core.bench.scored_cines import ScoredCine

    with from_project(project) as study:
        if study.label_set.values != LEFT_HEART.values:
            raise ApicalError(
                f"{project.name} has other structures than left ventricle, myocardium and atrium: "
                "give a project with the left heart's labels."
            )
        both = [(*pixels(one, on_progress), one.cine.timing.fps) for one in study.cines.values()]
    return [ScoredCine(frames, fps, labels) for frames, labels, fps in both]
