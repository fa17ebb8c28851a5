"""Choices and proposals that measurements depend on, stored in the project without a history."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from app.domain.errors import ProjectError
from app.domain.measure.body_size import BodySize
from app.domain.views import View, view_named
from app.storage.project import Project

logger = logging.getLogger(__name__)

_BEATS = "measured_beats"  # index of the beat that comes first, by id of a cine
_BODIES = "body_sizes"  # height and weight by hash of the study
_PAIRS = "measured_pairs"  # id of the cine that is measured with it, or 0 for none, by id of a cine
_VIEWS = "cine_views"  # view, and whether the program recognised it, by id of a cine


class StoredChoices:
    """Beats, pairs, body sizes, and the last known view of each cine, also of cines that are not open.

    Values are read once per project, and written when they change. Damaged ones count as absent.

    Parameters
    ----------
    project : callable
        Returns the open project, or None.
    """

    def __init__(self, project: Callable[[], Project | None]) -> None:
        self._open_project = project
        self._project: Project | None = None
        self._stored: dict[str, dict[str, Any]] = {}
        self._bodies: dict[str, BodySize | None] = {}  # of this session, stored or not

    def beat(self, cine_id: int) -> int:
        """Return the index of the beat that comes first; 0 by default."""
        found = self._values(_BEATS).get(str(cine_id), 0)
        return found if isinstance(found, int) and found > 0 else 0

    def set_beat(self, cine_id: int, beat: int) -> None:
        """Choose the beat that comes first."""
        self._set(_BEATS, cine_id, beat or None)

    def pairs(self) -> dict[int, int]:
        """Return the pairs that the user chose: by id of a cine that of the other one, or 0 for none."""
        found = self._values(_PAIRS).items()
        return {int(key): value for key, value in found if key.isdecimal() and isinstance(value, int)}

    def set_pair(self, cine_id: int, other: int) -> None:
        """Pair two cines, or with 0 measure a cine alone."""
        self._set(_PAIRS, cine_id, other)
        if other:
            self._set(_PAIRS, other, cine_id)

    def body(self, study: str | None) -> BodySize | None:
        """Return height and weight of the patient of a study; None if they are not known."""
        found, key = self._values(_BODIES), study or ""
        if key in self._bodies:
            return self._bodies[key]
        try:
            height, weight = found[key]
            return BodySize(float(height), float(weight))
        except (KeyError, TypeError, ValueError):
            return None

    def set_body(self, study: str | None, body: BodySize | None, *, store: bool) -> None:
        """Set height and weight of a patient; without `store` they are forgotten with the project."""
        value = [body.height_cm, body.weight_kg] if body is not None and store else None
        self._set(_BODIES, study or "", value)
        self._bodies[study or ""] = body

    def view(self, cine_id: int) -> View | None:
        """Return the last known view of a cine from any source."""
        found = self._values(_VIEWS).get(str(cine_id))
        known = found[0] if isinstance(found, list) and found else None
        return view_named(known) if isinstance(known, str) else None

    def recognised_view(self, cine_id: int) -> View | None:
        """Return the last known view of a cine if the program recognised it."""
        found = self._values(_VIEWS).get(str(cine_id))
        is_recognised = isinstance(found, list) and len(found) == 2 and found[1] is True
        return self.view(cine_id) if is_recognised else None

    def set_view(self, cine_id: int, view: View | None, *, is_recognised: bool) -> None:
        """Store the view of a cine, so that it can be paired before it is opened again."""
        self._set(_VIEWS, cine_id, None if view is None else [str(view), is_recognised])

    def _values(self, name: str) -> dict[str, Any]:
        project = self._open_project()
        if project is not self._project:
            self._project = project
            self._stored.clear()
            self._bodies.clear()
        if name not in self._stored:
            try:
                found = None if project is None else project.result(name)
            except ProjectError as error:
                logger.warning("%s cannot be read: %s", name, error)
                found = None
            self._stored[name] = found if isinstance(found, dict) else {}
        return self._stored[name]

    def _set(self, name: str, item: int | str, value: object) -> None:
        values, key = self._values(name), str(item)
        if values.get(key) == value or self._project is None:
            return
        if value is None:
            del values[key]
        else:
            values[key] = value
        try:
            self._project.save_result(name, values)
        except ProjectError as error:
            logger.warning("%s is not stored: %s", name, error)
