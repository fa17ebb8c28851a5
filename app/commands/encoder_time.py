"""Time and memory that each encoder needs on this machine, for a clip and for a cine."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.progress import Progress
from app.commands.report import Report, size, table
from app.encoders import registry
from app.formatting import format_count
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.errors import EncoderError
from vjepa_core.memory import is_lack_of_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_MEMORY_FRACTION = 0.8
"""Fraction of the memory that an encoder may use; the rest is for the system and other programs."""

_NOT_MEASURED: dict[str, Any] = {
    "clip_s": None,
    "clips": None,
    "cine_s": None,
    "memory_bytes": 0,
    "fits": True,
    "note": None,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "cine", nargs="?", type=Path, metavar="CINE", help="also estimate the time for this cine"
    )


def run(args: argparse.Namespace) -> Report:
    """Time every architecture once, on two blocks with random weights."""
    frames_and_rate = None if args.cine is None else _frames_and_rate(args.cine)

    import torch

    from vjepa_core.encoder.precision import inference_device

    device = inference_device()
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {format_count(torch.get_num_threads(), 'thread')}"
    )
    timed: dict[Architecture, float] = {}
    with Progress() as progress:
        rows = []
        cards, faults = registry.cards()
        for done, card in enumerate(cards):
            progress("Timing encoders", done, len(cards))
            rows.append({"name": card.name, **_row(card, frames_and_rate, device, timed)})
        rows += [{"name": stem, **_NOT_MEASURED, "note": fault} for stem, fault in faults.items()]
        progress("Timing encoders", len(cards), len(cards))
    data = {"device": name, "encoders": rows}
    return Report(data, _text(data, frames_and_rate is not None))


def _frames_and_rate(path: Path) -> tuple[int, float]:
    """Return the number of frames of a cine and their rate in Hz."""
    from app.readers.open import open_cine

    cine = open_cine(path)
    cine.source.close()
    return cine.n_frames, cine.timing.fps


def _row(
    card: EncoderCard,
    frames_and_rate: tuple[int, float] | None,
    device: torch.device,
    timed: dict[Architecture, float],
) -> dict[str, Any]:
    """Return the figures of one encoder; those of `_NOT_MEASURED` stay, with the reason in `note`."""
    from vjepa_core.fewshot.clip_time import clip_seconds, device_memory, required_memory
    from vjepa_core.fewshot.features import plan_clips, temporal_stride

    row = dict(_NOT_MEASURED)
    if frames_and_rate is not None:
        n_frames, fps = frames_and_rate
        row["clips"] = len(plan_clips(n_frames, temporal_stride(fps, card.fps)).starts)
    where = "the GPU" if device.type == "cuda" else "this machine"
    try:
        architecture = Architecture.parse(card.architecture)
        needed, total = required_memory(architecture, device), device_memory(device)
        row |= {"memory_bytes": needed, "fits": total is None or needed <= _MEMORY_FRACTION * total}
        if card.path is not None and not card.path.is_file():
            row["note"] = f"Its weight file {card.path} is missing: import it again, or remove the encoder."
        elif not row["fits"]:
            row["note"] = (
                f"It needs about {size(needed)} of memory, but an encoder may use at most "
                f"{_MEMORY_FRACTION:.0%} of the {size(total or 0)} of {where}: choose a smaller encoder."
            )
        else:
            if architecture not in timed:
                timed[architecture] = clip_seconds(architecture, device)
            row["clip_s"] = round(timed[architecture], 4)
    except EncoderError as error:
        row["note"] = str(error)
    except (RuntimeError, MemoryError) as error:
        log.warning("an encoder could not be timed", exc_info=True)
        row["note"] = (
            f"There is too little free memory on {where}: close other programs and try again."
            if is_lack_of_memory(error)
            else f"The measurement failed on {where} ({type(error).__name__}): see `apical doctor`."
        )
    if row["clip_s"] is not None and row["clips"] is not None:
        row["cine_s"] = round(row["clip_s"] * row["clips"], 2)
    return row


def _text(data: dict[str, Any], with_cine: bool) -> str:
    """Format the device, a table, and notes on single encoders."""
    rows = [["NAME", "A CLIP", *(["CLIPS", "THIS CINE"] if with_cine else []), "MEMORY"]]
    for row in data["encoders"]:
        cine = ["-" if row["clips"] is None else str(row["clips"]), _seconds(row["cine_s"])]
        memory = size(row["memory_bytes"]) if row["memory_bytes"] else "-"
        rows.append([row["name"], _seconds(row["clip_s"]), *(cine if with_cine else []), memory])
    notes = [f"{row['name']}: {row['note']}" for row in data["encoders"] if row["note"]]
    head = f"{data['device']}; estimates from two blocks of each encoder, clips of 16 frames"
    return "\n".join((head, "", table(rows), *([""] if notes else []), *notes))


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
