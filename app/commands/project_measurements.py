"""Measurements of the cines of a project, paired by study."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.commands.labelled_cines import open_record
from app.commands.measured_view import known_view, with_assumed_view
from app.commands.view_inputs import values_of
from app.domain.cine import Cine
from app.domain.errors import LabelError
from app.domain.measure.biplane import Method
from app.domain.measure.body_size import BodySize
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import LeftHeart, ViewInput, measure_left_heart
from app.domain.views import View
from app.engine.sector import sector_of
from app.storage import schema
from app.storage.project import Project
from app.storage.records import CineRecord
from app.workspace.measuring.cine_snapshot import CineSnapshot
from app.workspace.measuring.pairs import OTHER_VIEW
from app.workspace.measuring.stored_choices import StoredChoices
from app.workspace.opened_cine import load_cine


@dataclass(frozen=True, eq=False)
class ProjectMeasurement:
    """Measurements of one cine or of a pair.

    Attributes
    ----------
    cines : dict of str to int
        Number of the cine in the project, by view.
    names : dict of str to str
        Name of the cine for the terminal, by view.
    heart : LeftHeart
    """

    cines: dict[str, int]
    names: dict[str, str]
    heart: LeftHeart


@dataclass(frozen=True, eq=False)
class _Measured:
    record: CineRecord
    view: ViewInput


def measure_project(
    path: Path, *, method: Method = Method.ASE, body: BodySize | None = None
) -> tuple[list[ProjectMeasurement], list[str]]:
    """Measure the shown masks of all cines; the project may be open in the window.

    Facts of the active layer (view, landmarks, marks of end-diastole and end-systole, calibration) are used.
    Cines that the user paired are measured together, then A4C and A2C of one study.

    Parameters
    ----------
    path : Path
    method : Method
    body : BodySize, optional

    Returns
    -------
    list of ProjectMeasurement
    list of str
        A sentence for each cine that was not found.

    Raises
    ------
    ProjectError
        If it is not a project, or damaged.
    LabelError
        If no cine has masks.
    """
    found: list[_Measured] = []
    missing: list[str] = []
    schema.check_header(path)
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        copy = Path(folder) / path.name  # the window locks the project itself
        schema.copy(path, copy)
        with Project.open(copy) as project:
            values = values_of(project.label_set)
            chosen = StoredChoices(lambda: project).pairs()
            for summary in project.summaries():
                if not (summary.n_annotated or summary.n_predicted):
                    continue
                record = summary.record
                cine = open_record(record, path.resolve().parent)
                if cine is None:
                    missing.append(
                        f"{record.name} was not found: open the project in the window to find it again."
                    )
                    continue
                try:
                    found.append(_Measured(record, _view_input(cine, record, project, values)))
                finally:
                    cine.source.close()
    if not found and not missing:
        raise LabelError(f"{path.name} has no masks yet: outline a structure in the window.")
    return [_measure(group, values, method, body) for group in _groups(found, chosen)], missing


def _measure(
    group: list[_Measured], values: Values, method: Method, body: BodySize | None
) -> ProjectMeasurement:
    heart = measure_left_heart(
        [with_assumed_view(one.view) for one in group], values, method=method, body=body
    )
    records = dict(zip(heart.views, [one.record for one in group], strict=True))
    return ProjectMeasurement(
        {view: record.id for view, record in records.items()},
        {view: record.name for view, record in records.items()},
        heart,
    )


def _view_input(cine: Cine, record: CineRecord, project: Project, values: Values) -> ViewInput:
    """Return the shown masks and the facts of a cine, as the window measures them."""
    opened = load_cine(cine, record, project)
    assigned = opened.recorder.layer.view
    view, source = known_view(cine) if assigned is None else (assigned.view, assigned.source)
    return CineSnapshot.of(opened, view, source).view_input(values, inside=sector_of(cine))


def _groups(found: Sequence[_Measured], chosen: Mapping[int, int]) -> list[list[_Measured]]:
    """Pair cines: those that the user paired, then A4C and A2C of one study; all others stay alone."""
    left = {one.record.id: one for one in found}
    groups: list[list[_Measured]] = []
    while left:
        one = left.pop(next(iter(left)))
        partner = _partner(one, left, chosen)
        group = [one] if partner is None else [one, left.pop(partner)]
        groups.append(sorted(group, key=lambda member: member.view.view is View.A2C))
    return groups


def _partner(one: _Measured, others: Mapping[int, _Measured], chosen: Mapping[int, int]) -> int | None:
    """Return the number of the cine that is measured together with `one`; None for none."""
    by_user = chosen.get(one.record.id)
    if by_user is not None:
        return by_user if by_user in others else None
    wanted, study = OTHER_VIEW.get(one.view.view) if one.view.view else None, one.record.study_hash
    if wanted is None or study is None:
        return None
    fitting = (
        number
        for number, other in others.items()
        if other.record.study_hash == study and other.view.view is wanted and number not in chosen
    )
    return next(fitting, None)
