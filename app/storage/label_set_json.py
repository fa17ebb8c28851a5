"""Label sets, and the structures that a head predicts, as JSON."""

from __future__ import annotations

import json

from app.domain.labels import LEFT_HEART, LV_CAVITY, LV_MYOCARDIUM, LabelSet, Structure


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
        for c in label_set.structures
    ]
    return json.dumps({"name": label_set.name, "classes": classes, "keep_enclosed": label_set.keep_enclosed})


def label_set_from_json(text: str) -> LabelSet:
    """Parse the text that `label_set_to_json` returns; ValueError, KeyError or TypeError if it is damaged."""
    data = json.loads(text)
    classes = []
    cavity = next((int(item["value"]) for item in data["classes"] if item["snomed"] == LV_CAVITY), None)
    cavities = {LV_MYOCARDIUM: cavity}
    for item in data["classes"]:
        red, green, blue = item["colour"]
        # Older label sets lack this entry; their LV myocardium is the wall of the LV cavity.
        wall_of = item.get("wall_of", cavities.get(item["snomed"]))
        classes.append(
            Structure(int(item["value"]), item["name"], (red, green, blue), item["snomed"], wall_of)
        )
    return LabelSet(data["name"], tuple(classes), bool(data.get("keep_enclosed", True)))


def structures_to_json(label_set: LabelSet) -> str:
    """Return the value and SNOMED CT code of each structure as JSON text, with its name if it has no code.

    The text identifies what a head predicts, regardless of the name and colours of the label set.
    """
    return json.dumps([[c.value, c.snomed or c.name] for c in label_set.structures])


def predicts_structures(stored: str, label_set: LabelSet) -> bool:
    """Return True if a head stored with this text predicts the structures of a label set.

    Older versions stored only the name of the label set, which is accepted for the left heart: all their
    projects had that label set.
    """
    if stored == structures_to_json(label_set):
        return True
    return stored == LEFT_HEART.name and label_set.is_left_heart
