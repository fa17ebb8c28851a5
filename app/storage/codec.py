"""Label sets, and the structures that a head draws, as JSON."""

from __future__ import annotations

import json

from app.domain.labels import LEFT_HEART, LabelClass, LabelSet


def label_set_to_json(label_set: LabelSet) -> str:
    """Return a label set as JSON text."""
    classes = [
        {"value": c.value, "name": c.name, "colour": list(c.colour), "snomed": c.snomed}
        for c in label_set.classes
    ]
    return json.dumps({"name": label_set.name, "classes": classes})


def label_set_from_json(text: str) -> LabelSet:
    """Inverse of `label_set_to_json`; ValueError, KeyError or TypeError on anything else."""
    data = json.loads(text)
    classes = []
    for item in data["classes"]:
        red, green, blue = item["colour"]
        classes.append(LabelClass(int(item["value"]), item["name"], (red, green, blue), item["snomed"]))
    return LabelSet(data["name"], tuple(classes))


def structures_to_json(label_set: LabelSet) -> str:
    """What a head for this label set draws: the value and the code of each class, or its name without one.

    Neither the label set's own name nor its colours are part of it.
    """
    return json.dumps([[c.value, c.snomed or c.name] for c in label_set.classes])


def draws_structures(stored: str, label_set: LabelSet) -> bool:
    """Whether a head that was stored with this text draws the structures of a label set.

    Heads of older versions are stored with the name of their label set alone. It is believed where the label
    set is that of the left heart, which every project of these versions had.
    """
    if stored == structures_to_json(label_set):
        return True
    return stored == LEFT_HEART.name and label_set.is_left_heart
