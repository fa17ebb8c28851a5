"""Which head may draw on which cine of the engine: applicability comes before confidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.applicability import Evidence, Known, Recogniser, embedding, gather, knows, resembles
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.starter import Starter
from vjepa_core.service.cine_state import CineState


class Recognition:
    """Decides whether a head knows a cine.

    Parameters
    ----------
    starter : Starter, optional
        The head that ships for this encoder.
    recogniser : Recogniser, optional
        For this encoder; without it only the answers of a fitted head tell whether it knows a cine.
    """

    def __init__(self, starter: Starter | None, recogniser: Recogniser | None) -> None:
        self._starter, self._recogniser = starter, recogniser
        self._learnt: Known | None = None  # what the newest head learnt from
        self._own: tuple[Head, Evidence] | None = None  # how a fitted head answers on a cine of its own

    def restore(self, head_file: Path) -> None:
        """Take over what a kept head learnt from."""
        self._learnt = Known.of_head(head_file)

    def learn(self, works: Iterable[CineState]) -> Known | None:
        """Remember what a head that was just fitted learnt from."""
        self._learnt = self.known(works)
        return self._learnt

    def drafts(self, work: CineState) -> bool:
        """Whether the starter knows a cine; not known, and so no, before its features are there."""
        if self._starter is None or not work.left_heart or not work.is_prepared:
            return False
        return work.pipeline.check_starter(self._starter)

    def known(self, works: Iterable[CineState]) -> Known | None:
        """The annotated cines, or what the newest head learnt from where there are none; None of nothing."""
        labelled = [work for work in works if work.is_labelled and work.is_prepared]
        if not labelled:
            return self._learnt
        return Known(np.stack([_seen(work) for work in labelled]), tuple(map(self.drafts, labelled)))

    def may_draw(self, head: Head, work: CineState, works: Iterable[CineState]) -> bool:
        """Whether a fitted head may draw on a cine: always where that is annotated itself."""
        if work.is_labelled:
            return True
        if work.recognised_by is None or work.recognised_by[0] is not head:
            works = list(works)
            work.recognised_by = head, self.resembles(work, works) and self._answers_well(head, work, works)
        return work.recognised_by[1]

    def resembles(self, work: CineState, works: Iterable[CineState]) -> bool:
        """Whether a cine is of the kind of those that are annotated, whatever a head answers on it."""
        known = self.known(works)
        if known is None or not work.is_prepared:
            return False
        drafts = self.drafts(work)
        if self._recogniser is None:
            return drafts or not work.left_heart or self._starter is None
        apical = drafts if work.left_heart and self._starter is not None else None
        return resembles(self._recogniser, known, _seen(work), apical=apical)

    def _answers_well(self, head: Head, work: CineState, works: Iterable[CineState]) -> bool:
        """Whether a head answers as on a cine that it learnt from; it is not asked where none is open."""
        if self.drafts(work):
            return True  # it has been examined
        labelled = next((one for one in works if one.is_labelled and one.is_prepared), None)
        if labelled is None:
            return True
        if self._own is None or self._own[0] is not head:
            self._own = head, _examined(head, labelled)
        return knows(_examined(head, work), self._own[1])


def _examined(head: Head, work: CineState) -> Evidence:
    return gather(head, replace(work.pipeline.prepared, labels={}))


def _seen(work: CineState) -> NDArray[np.float32]:
    if work.embedding is None:
        work.embedding = embedding(work.pipeline.prepared)
    return work.embedding
