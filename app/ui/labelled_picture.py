"""One frame with what lies over it: masks drawn, accepted and predicted, and where they may be wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QWidget

from app.domain.cine import Frame
from app.domain.labels import LabelSet
from app.domain.provenance import Provenance, States
from app.ui.overlay import ACCEPTED, DRAWN, OUTDATED, PREDICTION, DoubtLayer, LabelLayer
from app.ui.picture import PictureView
from vjepa_core.label_image import values_mask


class LabelledPicture(PictureView):
    """Shows the layers of a frame; a key hides them for as long as it is held."""

    peek = Signal(bool)  # the peek key is held: layers are hidden meanwhile

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._drawn = LabelLayer(self._view, DRAWN)
        self._accepted = LabelLayer(self._view, ACCEPTED)
        self._predicted = LabelLayer(self._view, PREDICTION)
        self._doubts = DoubtLayer(self._view)
        self._doubt: Frame | None = None
        self._shown = (True, True)
        self._peeking = False
        self._peek_keys: tuple[QKeySequence, ...] = ()
        self._peek_held: int | None = None  # the key that must come up again

    def _show_annotation(self, annotation: Frame | None, states: States) -> None:
        """Show a label image (height, width) uint8, each structure in the style of its state."""
        accepted = [value for value, state in states.items() if state is Provenance.ACCEPTED]
        if annotation is None or not accepted:
            self._drawn.set_labels(annotation)
            self._accepted.set_labels(None)
            return
        theirs = values_mask(annotation, accepted)
        self._drawn.set_labels(np.where(theirs, 0, annotation).astype(np.uint8))
        self._accepted.set_labels(np.where(theirs, annotation, 0).astype(np.uint8))

    def _show_prediction(self, prediction: Frame | None, *, outdated: bool) -> None:
        """Show a label image (height, width) uint8 as predicted, or as outdated."""
        self._predicted.set_style(OUTDATED if outdated else PREDICTION)
        self._predicted.set_labels(prediction)

    def set_doubt(self, doubt: Frame | None) -> None:
        """Show how likely the prediction is wrong, (height, width) uint8, times 255; None for nothing."""
        self._doubt = doubt
        self._doubts.show(doubt if self._shown[1] and not self._peeking else None)

    def set_label_set(self, labels: LabelSet) -> None:
        """Take the classes and their colours."""
        for layer in (self._drawn, self._accepted, self._predicted):
            layer.set_label_set(labels)

    def set_hidden_classes(self, values: Collection[int]) -> None:
        """Hide these classes in every layer."""
        for layer in (self._drawn, self._accepted, self._predicted):
            layer.set_hidden_classes(values)

    def set_layers_visible(self, annotation: bool, prediction: bool) -> None:
        """Show or hide what a human stated and what is predicted."""
        self._shown = (annotation, prediction)
        self._apply_shown()

    def set_peek_keys(self, keys: Sequence[QKeySequence]) -> None:
        """Keys that hide the layers for as long as they are held."""
        self._peek_keys = tuple(keys)

    def _apply_shown(self) -> None:
        for layer in (self._drawn, self._accepted):
            layer.set_visible(self._shown[0] and not self._peeking)
        self._predicted.set_visible(self._shown[1] and not self._peeking)
        self.set_doubt(self._doubt)

    def _set_peeking(self, on: bool) -> None:
        if on != self._peeking:
            self._peeking = on
            self._apply_shown()
            self.peek.emit(on)

    def _is_peek(self, event: QKeyEvent) -> bool:
        if event.type() == QEvent.Type.KeyRelease:  # whatever Shift or Ctrl do by then
            return self._peeking and event.key() == self._peek_held
        mine = any(QKeySequence(event.keyCombination()) == keys for keys in self._peek_keys)
        if mine:
            self._peek_held = event.key()
        return mine

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and self._is_peek(event):
            if event.type() == QEvent.Type.ShortcutOverride:
                event.accept()
            elif not event.isAutoRepeat():
                self._set_peeking(event.type() == QEvent.Type.KeyPress)
            return True
        return super().event(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._set_peeking(False)
        super().focusOutEvent(event)
