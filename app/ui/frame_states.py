"""What is said about a visible frame: who stated each structure, and how far a prediction can be trusted."""

from __future__ import annotations

from app.domain.labels import LabelSet
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from app.workspace.opened_cine import OpenedCine
from vjepa_core.label_image import structures_in


def is_draft(opened: OpenedCine) -> bool:
    """True where predictions were learnt from nothing on this cine."""
    return not opened.recorder.layer.annotated_frames


def structure_states(opened: OpenedCine, masks: FrameMasks, labels: LabelSet) -> dict[int, str]:
    """State of each structure on the visible frame, in a word: drawn, accepted, absent, predicted, draft."""
    predicted = masks.predicted
    learnt = {value for states in opened.recorder.layer.states_by_frame.values() for value in states}
    seen = () if predicted is None else structures_in(predicted)
    here = () if masks.annotation is None else structures_in(masks.annotation)
    words: dict[int, str] = {}
    for value in labels.values:
        state = masks.states.get(value)
        if state is not None:
            words[value] = str(state) if value in here else "absent"
        elif value in seen:
            outdated = opened.frame in opened.stale
            words[value] = "outdated" if outdated else "predicted" if value in learnt else "draft"
        else:
            words[value] = ""
    return words


def describe_frame(opened: OpenedCine, masks: FrameMasks, labels: LabelSet) -> str:
    """One or two sentences about the visible frame for the learning panel."""
    names = {c.value: c.name for c in labels.classes}
    stated = {
        state: [v for v, s in masks.states.items() if s is state and v in names]
        for state in (Provenance.DRAWN, Provenance.ACCEPTED)
    }
    here = () if masks.annotation is None else structures_in(masks.annotation)
    said: list[str] = []
    if masks.states and not here and set(masks.states) >= set(labels.values):
        return "Marked as empty: none of the structures is on this frame."
    for state, values in stated.items():
        present = [names[v] for v in values if v in here]
        if present:
            said.append(f"{str(state).capitalize()}: {', '.join(present)}.")
    absent = [names[v] for values in stated.values() for v in values if v not in here]
    if absent:
        said.append(f"Marked as absent: {', '.join(absent)}.")
    prediction, predicted = opened.predictions.get(opened.frame), masks.predicted
    if predicted is not None and predicted.any() and prediction is not None:
        said.append(_trust(opened, prediction.confidence))
    elif not said:
        nothing = "No prediction on this frame yet." if prediction is None else "Nothing is predicted here."
        said.append(nothing)
    return " ".join(said)


def _trust(opened: OpenedCine, dice: float) -> str:
    reasons = "".join(f"; check: {reason}" for reason in opened.findings.get(opened.frame, ()))
    if is_draft(opened):
        return f"Draft, not learnt from this cine: check it; expected Dice here {dice:.2f}{reasons}"
    if opened.frame in opened.stale:
        return f"Outdated: expected Dice here {dice:.2f}, before your last stroke{reasons}"
    return f"Predicted: expected Dice here {dice:.2f}{reasons}"
