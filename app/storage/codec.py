"""Label sets as JSON."""

from __future__ import annotations

import json

from app.domain.labels import LV_CAVITY, LV_MYOCARDIUM, LabelClass, LabelSet


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
