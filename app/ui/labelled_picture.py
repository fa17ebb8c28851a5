"""A frame with its masks (drawn, accepted, predicted) and the doubt of the prediction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PySide6.QtCore import QEvent
from PySide6.QtGui import QFocusEvent, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QWidget

from app.domain.cine import Frame
from app.domain.labels import LabelSet
from app.domain.provenance import Provenance, States
from app.ui.overlay import ACCEPTED, DRAWN, OUTDATED, PREDICTION, DoubtLayer, LabelLayer
from app.ui.picture import PictureView
from vjepa_core.label_image import values_mask


class LabelledPicture(PictureView):
    """Displays the layers of a frame; holding the peek key hides them.

    Attributes
    ----------
    drawn, accepted, predicted : LabelLayer
        Masks by their provenance.
    doubt : DoubtLayer
        Doubt of the prediction.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.drawn = LabelLayer(self._view, DRAWN)
        self.accepted = LabelLayer(self._view, ACCEPTED)
        self.predicted = LabelLayer(self._view, PREDICTION)
        self.doubt = DoubtLayer(self._view)
        self._doubt_image: Frame | None = None
        self._shown = (True, True)
        self._peeking = False
        self._peek_keys: tuple[QKeySequence, ...] = ()
        self._peek_held: int | None = None  # key whose release ends peeking

    def _show_annotation(self, annotation: Frame | None, states: States) -> None:
        """Display a label image (height, width) uint8, each structure in the style of its state."""
        accepted = [value for value, state in states.items() if state is Provenance.ACCEPTED]
        if annotation is None or not accepted:
            self.drawn.set_labels(annotation)
            self.accepted.set_labels(None)
            return
        is_accepted = values_mask(annotation, accepted)
        self.drawn.set_labels(np.where(is_accepted, 0, annotation).astype(np.uint8))
        self.accepted.set_labels(np.where(is_accepted, annotation, 0).astype(np.uint8))

    def _show_prediction(self, prediction: Frame | None, *, outdated: bool) -> None:
        """Display a predicted label image (height, width) uint8."""
        self.predicted.set_style(OUTDATED if outdated else PREDICTION)
        self.predicted.set_labels(prediction)

    def set_doubt(self, doubt: Frame | None) -> None:
        """Display doubt, the probability of a wrong label times 255, (height, width) uint8; or None."""
        self._doubt_image = doubt
        self.doubt.show(doubt if self._shown[1] and not self._peeking else None)

    def set_label_set(self, labels: LabelSet) -> None:
        """Set the structures and their colours."""
        for layer in (self.drawn, self.accepted, self.predicted):
            layer.set_label_set(labels)

    def set_hidden_structures(self, values: Collection[int]) -> None:
        """Hide these structures in every layer."""
        for layer in (self.drawn, self.accepted, self.predicted):
            layer.set_hidden_structures(values)

    def set_layers_visible(self, annotation: bool, prediction: bool) -> None:
        """Show or hide annotations and predictions."""
        self._shown = (annotation, prediction)
        self._apply_shown()

    def set_peek_keys(self, keys: Sequence[QKeySequence]) -> None:
        """Set the keys that hide the layers while they are held."""
        self._peek_keys = tuple(keys)

    def _apply_shown(self) -> None:
        for layer in (self.drawn, self.accepted):
            layer.set_visible(self._shown[0] and not self._peeking)
        self.predicted.set_visible(self._shown[1] and not self._peeking)
        self.set_doubt(self._doubt_image)

    def _set_peeking(self, on: bool) -> None:
        if on != self._peeking:
            self._peeking = on
            self._apply_shown()

    def _is_peek(self, event: QKeyEvent) -> bool:
        if event.type() == QEvent.Type.KeyRelease:  # the modifiers may have changed since the press
            return self._peeking and event.key() == self._peek_held
        is_peek = any(QKeySequence(event.keyCombination()) == keys for keys in self._peek_keys)
        if is_peek:
            self._peek_held = event.key()
        return is_peek

    def event(self, event: QEvent) -> bool:
        """Hide the masks while the peek key is pressed."""
        if isinstance(event, QKeyEvent) and self._is_peek(event):
            if event.type() == QEvent.Type.ShortcutOverride:
                event.accept()
            elif not event.isAutoRepeat():
                self._set_peeking(event.type() == QEvent.Type.KeyPress)
            return True
        return super().event(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show the masks again."""
        self._set_peeking(False)
        super().focusOutEvent(event)
