"""Applicability of heads to the cines of the engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.applicability import cine_embedding, gather_evidence, predicts_as_well
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.recogniser import Evidence, Recogniser, ReferenceCines, resembles
from vjepa_core.fewshot.starter import Starter
from vjepa_core.fewshot.view_recogniser import NEITHER, RecognisedView, ViewRecogniser, view_features
from vjepa_core.service.cine_state import CineState


class Recognition:
    """Decides whether a head applies to a cine.

    Parameters
    ----------
    starter : Starter, optional
        Starter head for the engine's encoder.
    recogniser : Recogniser, optional
        Recogniser for the engine's encoder; without it, the evidence is limited to predictions.
    views : ViewRecogniser, optional
        View recogniser for the engine's encoder; without it, no view is recognised.
    """

    def __init__(
        self, starter: Starter | None, recogniser: Recogniser | None, views: ViewRecogniser | None = None
    ) -> None:
        self._starter, self._recogniser, self._views = starter, recogniser, views
        self._fitted_to: ReferenceCines | None = None  # cines of the newest fit
        self._reference: tuple[Head, Evidence] | None = None  # of a fitted head on a cine of its fit

    def restore(self, head_file: Path) -> None:
        """Read the cines to which a saved head was fitted."""
        self._fitted_to = ReferenceCines.of_head(head_file)

    def remember_fit(self, cines: Collection[CineState]) -> ReferenceCines | None:
        """Store and return the cines to which a new head was fitted."""
        self._fitted_to = self.reference_cines(cines)
        return self._fitted_to

    def starter_applies(self, cine: CineState) -> bool:
        """Return True if the starter head applies to a cine; False before the cine is prepared."""
        if self._starter is None or not cine.left_heart or not cine.is_prepared:
            return False
        return cine.pipeline.check_starter(self._starter)

    def decide_starter(self, cine: CineState) -> None:
        """Decide if the starter head applies to a cine, if the cine is prepared and this is undecided."""
        self.starter_applies(cine)

    def view_of(self, cine: CineState) -> RecognisedView | None:
        """Return the recognised view of a prepared cine; None if views cannot be recognised.

        This requires that the left heart is outlined, a starter head, and a view recogniser for the encoder.
        """
        if self._views is None or self._starter is None or not cine.left_heart:
            return None
        if not self.starter_applies(cine):
            return NEITHER
        return self._views.recognise(view_features(cine.pipeline.prepared))

    def reference_cines(self, cines: Collection[CineState]) -> ReferenceCines | None:
        """Return the labelled cines or, if there are none, those of the newest fit."""
        labelled = [cine for cine in cines if cine.is_labelled and cine.is_prepared]
        if not labelled:
            return self._fitted_to
        embeddings = np.stack([_embedding(cine) for cine in labelled])
        return ReferenceCines(embeddings, tuple(map(self.starter_applies, labelled)))

    def recognises(self, head: Head, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return True if a fitted head applies to a cine; always True for a labelled cine."""
        if cine.is_labelled:
            return True
        if cine.recognised_by is None or cine.recognised_by[0] is not head:
            is_recognised = self.resembles(cine, cines) and self._predicts_well(head, cine, cines)
            cine.recognised_by = head, is_recognised
        return cine.recognised_by[1]

    def resembles(self, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return True if a cine shows the same view as the labelled ones."""
        reference = self.reference_cines(cines)
        if reference is None or not cine.is_prepared:
            return False
        applies = self.starter_applies(cine)
        has_starter = cine.left_heart and self._starter is not None
        if self._recogniser is None:
            return applies or not has_starter
        return resembles(
            self._recogniser, reference, _embedding(cine), apical=applies if has_starter else None
        )

    def _predicts_well(self, head: Head, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return True if a head predicts as well as on a labelled cine, or if there is no labelled cine."""
        if self.starter_applies(cine):
            return True  # already verified
        labelled = next((one for one in cines if one.is_labelled and one.is_prepared), None)
        if labelled is None:
            return True
        if self._reference is None or self._reference[0] is not head:
            self._reference = head, _evidence(head, labelled)
        return predicts_as_well(_evidence(head, cine), self._reference[1])


def _evidence(head: Head, cine: CineState) -> Evidence:
    return gather_evidence(head, replace(cine.pipeline.prepared, labels={}))


def _embedding(cine: CineState) -> NDArray[np.float32]:
    if cine.embedding is None:
        cine.embedding = cine_embedding(cine.pipeline.prepared)
    return cine.embedding
