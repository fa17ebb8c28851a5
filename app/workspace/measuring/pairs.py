"""Choice of the cine that is measured together with another one."""

from __future__ import annotations

from collections.abc import Callable

from app.domain.views import FactSource, View
from app.workspace.cine_entry import CineEntry, CineState
from app.workspace.measuring.stored_choices import StoredChoices
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace

OTHER_VIEW = {View.A4C: View.A2C, View.A2C: View.A4C}
"""Views that form a pair for biplane volumes."""


class PairChoice:
    """Pairs A4C and A2C of one study, unless the user chose otherwise.

    Parameters
    ----------
    workspace : Workspace
    view_of : callable
        Returns the view of a cine and its source.
    stored : StoredChoices
        Pairs that the user chose, and views of cines that are not open.
    """

    def __init__(
        self,
        workspace: Workspace,
        view_of: Callable[[OpenedCine], tuple[View | None, FactSource | None]],
        stored: StoredChoices,
    ) -> None:
        self._workspace, self._view_of, self._stored = workspace, view_of, stored

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
        chosen = self._stored.pairs().get(opened.id)
        if chosen is not None:
            return next((other for other in candidates if other.id == chosen), None)
        wanted = self._wanted(opened)
        if wanted is None or opened.record.study_hash is None:
            return None
        fitting = [other for other in candidates if self._view_of(other)[0] is wanted]
        return max(fitting, key=_suitability, default=None)  # the first of equally suitable ones

    def reason(self, opened: OpenedCine) -> str:
        """Return why a cine is not measured as part of a pair, and the remedy; "" if it is or need not be."""
        pair = self.of(opened)
        if pair is not None:
            if not pair.has_masks:
                return f"{pair.record.name} has no masks yet: open it, so that they are predicted."
            if pair.recorder.layer.annotated_frames and pair.outdated:
                return f"Masks of {pair.record.name} are older than its outlines: open it to update them."
            return ""
        view, wanted = self._view_of(opened)[0], self._wanted(opened)
        chosen = self._stored.pairs().get(opened.id)
        if chosen == 0 or (wanted is None and view is not None):
            return ""
        if self._closed(opened):
            return "The other view of this study is not open: open it from the list of cines."
        if wanted is None:
            return "The view of this cine is not known: state it for biplane volumes."
        if opened.record.study_hash is None:
            return f"The file names no study: choose the {wanted} view for biplane volumes."
        return f"No open cine of this study shows the {wanted} view: open it, or state its view."

    def open_pair(self, opened: OpenedCine) -> None:
        """Open the pair of a cine in the background if the project has masks of it and it is not open."""
        if self.of(opened) is None:
            for entry in self._closed(opened):
                if entry.state is CineState.LISTED:
                    self._workspace.open(entry, background=True)
                    return

    def _wanted(self, opened: OpenedCine) -> View | None:
        """Return the view that a cine is paired with."""
        view = self._view_of(opened)[0]
        return None if view is None else OTHER_VIEW.get(view)

    def _closed(self, opened: OpenedCine) -> list[CineEntry]:
        """Return the cines with masks that would be the pair of a cine if they were open."""
        chosen = self._stored.pairs().get(opened.id)
        study, wanted = opened.record.study_hash, self._wanted(opened)
        found = []
        for entry in self._workspace.entries:
            record = entry.record
            if record is None or entry.opened is not None or not (entry.n_annotated or entry.n_predicted):
                continue
            fits = study is not None and record.study_hash == study and wanted is not None
            is_wanted = fits and self._stored.view(record.id) is wanted
            if record.id == chosen or (chosen is None and is_wanted):
                found.append(entry)
        return found

    def choose(self, opened: OpenedCine, other: OpenedCine | None) -> None:
        """Store the pair of a cine, or that it is measured alone."""
        self._stored.set_pair(opened.id, 0 if other is None else other.id)


def _suitability(opened: OpenedCine) -> tuple[bool, bool]:
    is_calibrated = opened.cine.calibration is not None or bool(opened.recorder.layer.calibrations)
    return opened.has_masks, is_calibrated
