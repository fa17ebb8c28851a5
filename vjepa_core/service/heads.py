"""The heads of the engine: starter head and fitted head, and the choice between them for each cine."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection
from pathlib import Path

import torch

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.fewshot.fit import Fit
from vjepa_core.fewshot.head import Head, HeadFileError, load_head
from vjepa_core.fewshot.recogniser import Recogniser
from vjepa_core.fewshot.starter import Starter, new_head
from vjepa_core.fewshot.view_recogniser import ViewRecogniser
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import Stage
from vjepa_core.service.recognition import Recognition

logger = logging.getLogger(__name__)


class Heads:
    """Chooses the head for predictions of a cine.

    Parameters
    ----------
    card : EncoderCard
        Card of the engine's encoder.
    device : torch.device
        Device of the heads.
    starter : Starter, optional
        Starter head for this encoder.
    recogniser : Recogniser, optional
        Recogniser for this encoder.
    views : ViewRecogniser, optional
        View recogniser for this encoder.

    Attributes
    ----------
    fitted : Head or None
        Newest fitted or restored head.
    fitted_revisions : dict
        Revision of the labels to which it was fitted, by cine.
    recognition : Recognition
    """

    def __init__(
        self,
        card: EncoderCard,
        device: torch.device,
        starter: Starter | None,
        recogniser: Recogniser | None,
        views: ViewRecogniser | None = None,
    ) -> None:
        self.card, self.device = card, device
        self.fitted: Head | None = None
        self.fitted_revisions: dict[int, int] = {}
        self.recognition = Recognition(starter, recogniser, views)
        self._starter = starter
        if starter is not None:
            starter.head.to(device)

    def restore(self, path: Path, revisions: dict[int, int]) -> None:
        """Use a saved head, unless it is damaged, from an older version or for another encoder."""
        try:
            head = load_head(path)
        except HeadFileError as error:
            logger.info("the saved head is not used: %s", error)
            return
        if head.config.encoder_checksum == self.card.checksum:
            self.fitted, self.fitted_revisions = head.to(self.device), revisions
            self.recognition.restore(path)

    def drop_other_classes(self, classes: tuple[int, ...]) -> None:
        """Drop the fitted head if it predicts other structures."""
        if self.fitted is not None and self.fitted.config.classes != classes:
            self.fitted, self.fitted_revisions = None, {}

    def head_for(self, cine: CineState, cines: Collection[CineState]) -> Head | None:
        """Return the head for predictions of a cine, or None.

        A cine without labels keeps its draft while at most one other cine is labelled. A restored head whose
        labels no longer exist is not used.
        """
        if cine.is_labelled:
            return self.fitted
        if self._starter is not None and cine.left_heart:
            if self.keeps_draft(cine, cines):
                return self._starter.head
            if not any(other.is_labelled for other in cines):
                return None
        if self.fitted is None or self.recognition.recognises(self.fitted, cine, cines):
            return self.fitted
        # The labelled cines may show other views; the starter head still applies to an apical one.
        if self._starter is not None and self.recognition.starter_applies(cine):
            return self._starter.head
        return None

    def keeps_draft(self, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return True if the starter head predicts a cine: it and all other cines but one are unlabelled."""
        is_first = self.fitted is None or sum(other.is_labelled for other in cines) <= 1
        return not cine.is_labelled and is_first and self.recognition.starter_applies(cine)

    def is_unrecognised(self, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return True if there is a head but none applies to this cine."""
        if cine.is_labelled or not cine.is_prepared or self.head_for(cine, cines) is not None:
            return False
        return self.fitted is not None or cine.pipeline.starter_applies is False

    def is_draft(self, head: Head | None) -> bool:
        """Return True if a head is the starter head."""
        return self._starter is not None and head is self._starter.head

    def resting_stage(self, cine: CineState, cines: Collection[CineState]) -> Stage:
        """Return the stage to report for a cine without further jobs."""
        head = self.head_for(cine, cines)
        if head is None:
            return Stage.NOT_RECOGNISED if self.is_unrecognised(cine, cines) else Stage.WAITING
        return Stage.DRAFT if self.is_draft(head) else Stage.UP_TO_DATE

    def initial_head(self, cine: CineState, interrupted: Fit | None) -> Head:
        """Return the head from which a fit starts: a copy of the newest or the starter head, or a new head.

        Parameters
        ----------
        cine : CineState
            One of the cines of the fit.
        interrupted : Fit, optional
            Fit that new labels have interrupted.
        """
        newest = self.fitted if interrupted is None else interrupted.averaged
        if newest is not None:
            head = copy.deepcopy(newest)
            if self.fitted is not None:
                # A net that an interrupted fit has only begun to fit is not in use.
                head.in_use.copy_(self.fitted.in_use)
        elif self._starter is not None:
            head = self._starter.initial_head(cine.classes, left_heart=cine.left_heart)
        else:
            head = new_head(self.card, cine.classes)
        return head.to(self.device)
