"""Preparation of a cine for the heads of the left heart that are delivered with the program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.commands.progress import Progress
from app.commands.segment import decode, feature_cache
from app.domain.cine import Cine

if TYPE_CHECKING:
    from vjepa_core.encoder.catalogue import EncoderCard
    from vjepa_core.fewshot.pipeline import CinePipeline


def prepare_left_heart(
    cine: Cine, card: EncoderCard, progress: Progress
) -> tuple[CinePipeline, Sequence[int]]:
    """Compute motion and features of an open cine as the window does, with the same cache.

    Parameters
    ----------
    cine : Cine
    card : EncoderCard
    progress : Progress

    Returns
    -------
    CinePipeline
        Without labels.
    sequence of int
        Frames that could not be decoded.

    Raises
    ------
    ApicalError, CoreError
        If a file of the encoder cannot be used, or no frame can be decoded.
    """
    from vjepa_core.encoder.loaded import resolve_encoder
    from vjepa_core.fewshot.pipeline import CinePipeline
    from vjepa_core.fewshot.starter import LEFT_HEART

    frames, damaged = decode(cine, cine.region, progress)
    pipeline = CinePipeline.of_region(
        frames,
        LEFT_HEART,
        fps=cine.timing.fps,
        pixel_aspect=cine.pixel_aspect,
        left_heart=True,
        damaged=damaged,
    )
    pipeline.prepare(*resolve_encoder(card), cache=feature_cache(), on_progress=progress)
    return pipeline, damaged
