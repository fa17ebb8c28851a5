"""Choice of the cine that is measured together with another one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.domain.errors import ProjectError
from app.domain.views import FactSource, View
from app.storage.project import Project
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

OTHER_VIEW = {View.A4C: View.A2C, View.A2C: View.A4C}
"""Views that form a pair for biplane volumes."""

_PAIRS = "measured_pairs"  # name of a stored result: id of the other cine, or 0 for none, by id of a cine


class PairChoice:
    """Pairs A4C and A2C of one study, unless the user chose otherwise.

    Parameters
    ----------
    workspace : Workspace
    view_of : callable
        Returns the view of a cine and its source.
    """

    def __init__(
        self,
        workspace: Workspace,
        view_of: Callable[[OpenedCine], tuple[View | None, FactSource | None]],
    ) -> None:
        self._workspace, self._view_of = workspace, view_of

    def candidates(self, opened: OpenedCine) -> list[OpenedCine]:
        """Return the other open cines of the same study; files without a study form one group."""
        study = opened.record.study_hash
        return [
            other
            for other in self._workspace.opened_cines
            if other is not opened and other.record.study_hash == study
        ]

    def of(self, opened: OpenedCine) -> OpenedCine | None:
        """Return the pair of a cine: the one chosen by hand, or else the one with the other view."""
        candidates = self.candidates(opened)
        chosen = self._chosen().get(str(opened.id))
        if chosen is not None:
            return next((other for other in candidates if other.id == chosen), None)
        wanted = OTHER_VIEW.get(self._view_of(opened)[0])  # type: ignore[arg-type]
        if wanted is None or opened.record.study_hash is None:
            return None
        fitting = [other for other in candidates if self._view_of(other)[0] is wanted]
        return max(fitting, key=_suitability, default=None)  # the first of equally suitable ones

    def choose(self, opened: OpenedCine, other: OpenedCine | None) -> None:
        """Store the pair of a cine, or that it is measured alone."""
        project = self._workspace.project
        if project is None:
            return
        chosen = self._chosen()
        chosen[str(opened.id)] = 0 if other is None else other.id
        if other is not None:
            chosen[str(other.id)] = opened.id
        try:
            project.save_result(_PAIRS, chosen)
        except ProjectError as error:
            logger.warning("the pair is not stored: %s", error)

    def _chosen(self) -> dict[str, int]:
        project = self._workspace.project
        return {} if project is None else stored_pairs(project)


def stored_pairs(project: Project) -> dict[str, int]:
    """Return the pairs that the user chose: by id of a cine that of the other one, or 0 for none."""
    try:
        stored = project.result(_PAIRS)
    except ProjectError:
        return {}
    if not isinstance(stored, dict):
        return {}
    return {key: value for key, value in stored.items() if isinstance(value, int)}


def _suitability(opened: OpenedCine) -> tuple[bool, bool]:
    has_masks = bool(opened.predictions or opened.recorder.layer.annotated_frames)
    return has_masks, opened.cine.calibration is not None
