"""State of frames and structures: stated by a human, predicted, outdated or draft."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.labels import LabelSet
from app.domain.shown_mask import FrameMasks
from app.workspace.opened_cine import OpenedCine


def is_draft(opened: OpenedCine) -> bool:
    """Return True if no frame of a cine is annotated, so that its predictions are drafts."""
    return not opened.recorder.layer.annotated_frames


def structure_states(opened: OpenedCine, masks: FrameMasks, labels: LabelSet) -> dict[int, str]:
    """Return the state of each structure on the visible frame of a cine.

    Parameters
    ----------
    opened : OpenedCine
        Cine whose visible frame is described.
    masks : FrameMasks
        Annotation and prediction of that frame.
    labels : LabelSet
        Structures.

    Returns
    -------
    dict of int to str
        By label value: 'drawn', 'accepted', 'absent', 'predicted', 'outdated', 'draft', or '' for a
        structure that is neither annotated nor predicted.
    """
    provenance = masks.provenance(opened.recorder.layer.stated_structures)
    is_outdated = opened.frame in opened.outdated
    result: dict[int, str] = {}
    for value in labels.values:
        origin = provenance.get(value)
        if origin is None:
            result[value] = "absent" if value in masks.states else ""
        else:
            result[value] = str(origin) if origin.is_human or not is_outdated else "outdated"
    return result


def expected_dice(opened: OpenedCine) -> dict[int, float]:
    """Return the expected Dice of every frame that shows a prediction.

    Frames on which a human has stated every structure have none.
    """
    dice = {frame: prediction.expected_dice for frame, prediction in opened.predictions.items()}
    for frame in opened.recorder.layer.annotated_frames:
        predicted = opened.shown_prediction(frame)
        if predicted is None or not predicted.any():
            dice.pop(frame, None)
    return dice


def findings_to_review(opened: OpenedCine, expected: Mapping[int, float]) -> Mapping[int, tuple[str, ...]]:
    """Return the findings on the up-to-date predictions of a cine, by frame.

    Parameters
    ----------
    opened : OpenedCine
    expected : mapping
        Result of `expected_dice`.
    """
    shown = expected.keys() - opened.outdated
    return {frame: reasons for frame, reasons in opened.findings.items() if frame in shown}
