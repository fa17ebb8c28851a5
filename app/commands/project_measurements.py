"""Measurements of the cines of a project, paired by study."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.commands.labelled_cines import open_record
from app.commands.measured_view import cavity_dice, known_view, with_assumed_view
from app.commands.view_inputs import values_of
from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Cine
from app.domain.errors import LabelError
from app.domain.facts import Phase, PhaseMark
from app.domain.labels import LabelSet
from app.domain.measure.biplane import Method
from app.domain.measure.body_size import BodySize
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import LeftHeart, ViewInput, measure_left_heart
from app.domain.prediction import Prediction
from app.domain.shown_mask import FrameMasks
from app.domain.views import View
from app.engine.sector import sector_of
from app.storage import schema
from app.storage.project import Project
from app.storage.records import CineRecord
from vjepa_core.label_image import LabelImage


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
class _Content:
    """What a project holds about one cine."""

    record: CineRecord
    layer: AnnotationLayer
    predictions: Mapping[int, Prediction]


@dataclass(frozen=True, eq=False)
class _Measured:
    record: CineRecord
    view: ViewInput


def measure_project(
    path: Path, *, method: Method = Method.ASE, body: BodySize | None = None
) -> tuple[list[ProjectMeasurement], list[str]]:
    """Measure the shown masks of all cines; the project may be open in the window.

    Facts of the active layer (view, landmarks, marks of end-diastole and end-systole) are used. A4C and A2C
    cines of one study are paired in the order in which they were added.

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
    label_set, contents = _snapshot(path)
    values = values_of(label_set)
    if not contents:
        raise LabelError(f"{path.name} has no masks yet: outline a structure in the window.")
    found: list[_Measured] = []
    missing: list[str] = []
    for content in contents:
        cine = open_record(content.record, path.resolve().parent)
        if cine is None:
            missing.append(
                f"{content.record.name} was not found: open the project in the window to find it again."
            )
            continue
        try:
            found.append(_Measured(content.record, _view_input(cine, content, label_set, values)))
        finally:
            cine.source.close()
    results = [_measure(group, values, method, body) for group in _groups(found)]
    return results, missing


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


def _snapshot(path: Path) -> tuple[LabelSet, list[_Content]]:
    """Read the committed content from a copy, because the window locks the project."""
    schema.check_header(path)
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        copy = Path(folder) / path.name
        schema.copy(path, copy)
        with Project.open(copy) as project:
            contents = []
            for record in project.cines():
                layer = project.layer(record.id)
                predictions = project.predictions(record.id, layer.rater)
                if not layer.annotated_frames:  # from annotations that were undone
                    predictions = {f: p for f, p in predictions.items() if p.revision == layer.revision}
                if layer.annotated_frames or predictions:
                    contents.append(_Content(record, layer, predictions))
            return project.label_set, contents


def _view_input(cine: Cine, content: _Content, label_set: LabelSet, values: Values) -> ViewInput:
    """Return the shown masks and the facts of a cine."""
    layer, predictions = content.layer, content.predictions
    labels: dict[int, LabelImage] = {}
    for frame in sorted({*layer.annotated_frames, *predictions}):
        prediction = predictions.get(frame)
        labels[frame] = FrameMasks(
            (cine.height, cine.width),
            layer.label(frame),
            layer.states(frame),
            None if prediction is None else prediction.mask,
            label_set.walls,
        ).shown
    is_human = frozenset(frame for frame in labels if values.cavity in layer.states(frame))
    assigned = layer.view
    view, source = known_view(cine) if assigned is None else (assigned.view, assigned.source)
    return ViewInput(
        cine,
        labels,
        view,
        source,
        frames=marked_frames(layer.phases),
        landmarks=layer.landmarks,
        structure_dice=cavity_dice({f: p.structure_dice for f, p in predictions.items()}, values.cavity),
        expected_dice={frame: prediction.expected_dice for frame, prediction in predictions.items()},
        is_human=is_human,
        inside=sector_of(cine, layer.labels.values()),
    )


def marked_frames(phases: Mapping[int, PhaseMark]) -> tuple[int, int] | None:
    """Return the first marked end-diastole and the end-systole that follows it, or else the first one.

    None unless both phases are marked.
    """
    ed = [frame for frame, mark in phases.items() if mark.phase is Phase.ED]
    es = [frame for frame, mark in phases.items() if mark.phase is Phase.ES]
    if not ed or not es:
        return None
    first = min(ed)
    return first, min((frame for frame in es if frame > first), default=min(es))


def _groups(found: Iterable[_Measured]) -> list[list[_Measured]]:
    """Pair A4C and A2C cines of one study; all others stay alone."""
    groups: list[list[_Measured]] = []
    waiting: dict[tuple[str, View], list[_Measured]] = {}
    partner = {View.A4C: View.A2C, View.A2C: View.A4C}
    for one in found:
        study, view = one.record.study_hash, one.view.view
        if study is None or view not in partner:
            groups.append([one])
            continue
        candidates = waiting.get((study, partner[view]), [])
        if candidates:
            other = candidates.pop(0)
            group = next(group for group in groups if group[0] is other)
            group.append(one)
            group.sort(key=lambda member: member.view.view is not View.A4C)
        else:
            groups.append([one])
            waiting.setdefault((study, view), []).append(one)
    return groups
