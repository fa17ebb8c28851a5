"""Label sets as JSON."""

from __future__ import annotations

import json

from app.domain.labels import LabelClass, LabelSet


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
