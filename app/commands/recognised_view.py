"""Recognition of the view of a cine for commands."""

from __future__ import annotations

from dataclasses import dataclass

from app.commands.left_heart_pipeline import prepare_left_heart
from app.commands.progress import Progress
from app.domain.cine import Cine
from app.domain.views import View, view_named
from app.encoders import registry
from vjepa_core.encoder.catalogue import EncoderCard


@dataclass(frozen=True)
class ViewAnswer:
    """View of a cine as recognised by the program.

    Attributes
    ----------
    view : View or None
        A4C or A2C; None if the cine shows neither, or if it is undecided.
    probability : float
        Probability of the more likely of the two views; 0 if the cine shows no apical view.
    """

    view: View | None
    probability: float


def recognise(cine: Cine, progress: Progress, card: EncoderCard | None = None) -> ViewAnswer | None:
    """Recognise the view of an open cine as the window does, with the same cache of features.

    Parameters
    ----------
    cine : Cine
    progress : Progress
        Shows the stage on the terminal.
    card : EncoderCard, optional
        Encoder; default: the one in the settings.

    Returns
    -------
    ViewAnswer or None
        None if this encoder has no view recogniser.

    Raises
    ------
    ApicalError, CoreError
        If a file of the encoder cannot be used, or no frame can be decoded.
    """
    from vjepa_core.encoder.precision import inference_device
    from vjepa_core.fewshot.starter import load_starter
    from vjepa_core.fewshot.view_recogniser import load_view_recogniser, recognise_view

    card = card or registry.find(registry.chosen())
    starter, recogniser = load_starter(card), load_view_recogniser(card)
    if starter is None or recogniser is None:
        return None
    starter.head.to(inference_device())
    pipeline, _ = prepare_left_heart(cine, card, progress)
    found = recognise_view(pipeline.prepared, recogniser, starter)
    return ViewAnswer(view_named(found.view), found.probability)
