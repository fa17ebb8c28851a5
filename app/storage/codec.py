"""Label sets, and the structures that a head draws, as JSON."""

from __future__ import annotations

import json

from app.domain.labels import LEFT_HEART, LV_CAVITY, LV_MYOCARDIUM, LabelClass, LabelSet


def label_set_to_json(label_set: LabelSet) -> str:
    """Return a label set as JSON text."""
    classes = [
        {
            "value": c.value,
            "name": c.name,
            "colour": list(c.colour),
            "snomed": c.snomed,
            "wall_of": c.wall_of,
        }
        for c in label_set.classes
    ]
    return json.dumps({"name": label_set.name, "classes": classes, "keep_enclosed": label_set.keep_enclosed})


def label_set_from_json(text: str) -> LabelSet:
    """Inverse of `label_set_to_json`; ValueError, KeyError or TypeError on anything else."""
    data = json.loads(text)
    classes = []
    cavity = next((int(item["value"]) for item in data["classes"] if item["snomed"] == LV_CAVITY), None)
    cavities = {LV_MYOCARDIUM: cavity}
    for item in data["classes"]:
        red, green, blue = item["colour"]
        # Sets written before walls were recorded: the myocardium of the left ventricle is one.
        wall_of = item.get("wall_of", cavities.get(item["snomed"]))
        classes.append(
            LabelClass(int(item["value"]), item["name"], (red, green, blue), item["snomed"], wall_of)
        )
    return LabelSet(data["name"], tuple(classes), bool(data.get("keep_enclosed", True)))


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
