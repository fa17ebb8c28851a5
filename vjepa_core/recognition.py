"""Which head may draw on which cine of the engine: applicability comes before confidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.applicability import Known, Recogniser, embedding, gather, knows, resembles
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.starter import Starter
from vjepa_core.work import CineWork


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
        self._restored: Known | None = None  # what a kept head learnt from

    def restore(self, head_file: Path) -> None:
        """Take over what a kept head learnt from."""
        self._restored = Known.of_head(head_file)

    def drafts(self, work: CineWork) -> bool:
        """Whether the starter knows a cine; not known, and so no, before its features are there."""
        if self._starter is None or not work.left_heart or not work.prepared:
            return False
        if work.drafts is None:
            assert work.study is not None  # noqa: S101 - it is prepared
            work.drafts = self._starter.applies(replace(work.study, labels={}))
        return work.drafts

    def known(self, works: Iterable[CineWork]) -> Known | None:
        """The annotated cines, or what a kept head learnt from where there are none; None of nothing."""
        labelled = [work for work in works if work.labels and work.prepared]
        if not labelled:
            return self._restored
        return Known(np.stack([_seen(work) for work in labelled]), tuple(map(self.drafts, labelled)))

    def may_draw(self, head: Head, work: CineWork, works: Iterable[CineWork]) -> bool:
        """Whether a fitted head may draw on a cine: always where that is annotated itself."""
        if work.labels:
            return True
        if work.known_by is None or work.known_by[0] is not head:
            work.known_by = head, self.resembles(work, works) and self._answers_well(head, work)
        return work.known_by[1]

    def resembles(self, work: CineWork, works: Iterable[CineWork]) -> bool:
        """Whether a cine is of the kind of those that are annotated, whatever a head answers on it."""
        known = self.known(works)
        if known is None or not work.prepared:
            return False
        drafts = self.drafts(work)
        if self._recogniser is None:
            return drafts or not work.left_heart or self._starter is None
        apical = drafts if work.left_heart and self._starter is not None else None
        return resembles(self._recogniser, known, _seen(work), apical=apical)

    def _answers_well(self, head: Head, work: CineWork) -> bool:
        if self.drafts(work):
            return True  # it has been examined
        assert work.study is not None  # noqa: S101 - it resembles an annotated cine
        return knows(gather(head, replace(work.study, labels={})))


def _seen(work: CineWork) -> NDArray[np.float32]:
    if work.seen is None:
        assert work.study is not None  # noqa: S101 - only prepared cines are asked
        work.seen = embedding(work.study)
    return work.seen
