"""View of a cine that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from app.domain.cine import Cine
from app.domain.measure.left_heart import ViewInput
from app.domain.views import FactSource, View, view_named

if TYPE_CHECKING:
    from vjepa_core.encoder.catalogue import EncoderCard
    from vjepa_core.fewshot.prepared_cine import PreparedCine
    from vjepa_core.fewshot.starter import Starter


def known_view(cine: Cine, chosen: str | None = None) -> tuple[View | None, FactSource | None]:
    """Return the view that the user chose or that the file states, with its source."""
    if chosen is not None:
        return View(chosen), FactSource.MANUAL
    stated = view_named(cine.view)
    return stated, None if stated is None else FactSource.FILE


def recognised_view(prepared: PreparedCine, starter: Starter, card: EncoderCard) -> View | None:
    """Return the view that is recognised on a cine with features, regardless of its labels.

    None if it shows neither A4C nor A2C, if it is undecided, or if the encoder has no view recogniser.
    """
    from vjepa_core.fewshot.view_recogniser import load_view_recogniser, recognise_view

    recogniser = load_view_recogniser(card)
    return None if recogniser is None else view_named(recognise_view(prepared, recogniser, starter).view)


def with_recognised(view: ViewInput, recognised: View | None) -> ViewInput:
    """Return an input of unknown view with the view that was recognised."""
    if view.view is not None or recognised is None:
        return view
    return replace(view, view=recognised, view_source=FactSource.RECOGNISED)


def with_assumed_view(view: ViewInput, other: View | None = None) -> ViewInput:
    """Return an input of unknown view as an A4C view, or as the A2C view of a pair; its source stays None."""
    if view.view is not None:
        return view
    return replace(view, view=View.A2C if other is View.A4C else View.A4C)


def cavity_dice(by_frame: Mapping[int, Mapping[int, float]], cavity: int) -> dict[int, float]:
    """Return the expected Dice of the LV cavity by frame, where it is known."""
    return {frame: dice[cavity] for frame, dice in by_frame.items() if cavity in dice}
