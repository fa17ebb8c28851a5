"""The heads of the engine: the starter head, the fitted head, and the choice between them for a cine."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection
from pathlib import Path

import torch

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.fewshot.fit import Fit
from vjepa_core.fewshot.head import Head, OlderHeadError, load_head
from vjepa_core.fewshot.recogniser import Recogniser
from vjepa_core.fewshot.starter import Starter, new_head
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import Stage
from vjepa_core.service.recognition import Recognition

logger = logging.getLogger(__name__)


class Heads:
    """Chooses the head that predicts a cine.

    Parameters
    ----------
    card : EncoderCard
        The engine's encoder.
    device : torch.device
    starter : Starter, optional
        Starter head over this encoder.
    recogniser : Recogniser, optional
        Recogniser over this encoder.

    Attributes
    ----------
    fitted : Head or None
        Newest fitted or restored head.
    fitted_revisions : dict
        Revision of the labels of each cine that it was fitted to.
    recognition : Recognition
    """

    def __init__(
        self,
        card: EncoderCard,
        device: torch.device,
        starter: Starter | None,
        recogniser: Recogniser | None,
    ) -> None:
        self.card, self.device = card, device
        self.fitted: Head | None = None
        self.fitted_revisions: dict[int, int] = {}
        self.recognition = Recognition(starter, recogniser)
        self._starter = starter
        if starter is not None:
            starter.head.to(device)

    def restore(self, path: Path, revisions: dict[int, int]) -> None:
        """Use a saved head, unless it is of an older version or over another encoder."""
        try:
            head = load_head(path)
        except OlderHeadError as error:
            logger.info("the saved head is not used: %s", error)
            return
        if head.config.encoder_checksum == self.card.checksum:
            self.fitted, self.fitted_revisions = head.to(self.device), revisions
            self.recognition.restore(path)

    def drop_other_classes(self, classes: tuple[int, ...]) -> None:
        """Drop the fitted head if it draws other structures."""
        if self.fitted is not None and self.fitted.config.classes != classes:
            self.fitted, self.fitted_revisions = None, {}

    def head_for(self, cine: CineState, cines: Collection[CineState]) -> Head | None:
        """Return the head that predicts a cine, None if there is none.

        A cine without labels keeps its draft while at most one other cine is labelled. A restored head whose
        labels no longer exist predicts nothing.
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
        """Return whether the starter head predicts a cine: it is unlabelled, and so are almost all others."""
        is_first = self.fitted is None or sum(other.is_labelled for other in cines) <= 1
        return not cine.is_labelled and is_first and self.recognition.starter_applies(cine)

    def is_unrecognised(self, cine: CineState, cines: Collection[CineState]) -> bool:
        """Return whether there are heads, and none of them recognises this cine."""
        if cine.is_labelled or not cine.is_prepared or self.head_for(cine, cines) is not None:
            return False
        return self.fitted is not None or cine.pipeline.starter_applies is False

    def is_draft(self, head: Head | None) -> bool:
        """Return whether a head is the starter head."""
        return self._starter is not None and head is self._starter.head

    def resting_stage(self, cine: CineState, cines: Collection[CineState]) -> Stage:
        """Return the stage to report when nothing is left to do for a cine."""
        head = self.head_for(cine, cines)
        if head is None:
            return Stage.NOT_RECOGNISED if self.is_unrecognised(cine, cines) else Stage.WAITING
        return Stage.DRAFT if self.is_draft(head) else Stage.UP_TO_DATE

    def initial_head(self, cine: CineState, interrupted: Fit | None) -> Head:
        """Return a copy of the head that a fit starts from: the newest one, the starter head or a new one.

        Parameters
        ----------
        cine : CineState
            A cine of the fit.
        interrupted : Fit, optional
            A fit that new labels have interrupted.
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
