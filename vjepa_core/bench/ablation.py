"""What each term of the objective brings: one budget, one start and one protocol for every row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.representation import Progress, Protocol, measure
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.build import build_student
from vjepa_core.pretraining.checkpoint import write_atomically
from vjepa_core.pretraining.config import PretrainConfig, as_dict
from vjepa_core.pretraining.export import trained_encoder
from vjepa_core.pretraining.loop import pretrain
from vjepa_core.pretraining.masks import random_tubes
from vjepa_core.pretraining.schedule import TermWeight
from vjepa_core.pretraining.source import ClipSource
from vjepa_core.pretraining.truth import labelled_source
from vjepa_core.pretraining.world import World

_OFF = TermWeight(0.0)
_LOC = TermWeight(0.25, rise=0.1, fall=0.6)
_CTX = TermWeight(0.5, rise=0.2)
RESULTS, ASKED = "results.jsonl", "asked.json"

ROWS: tuple[str, ...] = (
    "random",
    "V-JEPA",
    "V-JEPA + localisation",
    "V-JEPA + context",
    "V-JEPA + both",
    "VideoMAE",
    "V-JEPA + both + phantom labels",
)


def row_config(row: str, base: PretrainConfig) -> PretrainConfig:
    """`base` with the terms of one row; "random" is `base` untrained.

    Raises
    ------
    BenchError
        For a row that is not known.
    """
    plain = replace(base, jepa=TermWeight(1.0), loc=_OFF, ctx=_OFF, pixels=_OFF, truth=_OFF)
    both = replace(plain, loc=_LOC, ctx=_CTX)
    rows = {
        "random": plain,
        "V-JEPA": plain,
        "V-JEPA + localisation": replace(plain, loc=_LOC),
        "V-JEPA + context": replace(plain, ctx=_CTX),
        "V-JEPA + both": both,
        "VideoMAE": replace(
            plain, jepa=_OFF, pixels=TermWeight(1.0), masks=(random_tubes(base.grid),), deep=False
        ),
        "V-JEPA + both + phantom labels": replace(both, truth=TermWeight(1.0)),
    }
    if row not in rows:
        raise BenchError(f"There is no row {row}; there are: {', '.join(rows)}.")
    return rows[row]


def run(
    base: PretrainConfig,
    source: ClipSource,
    train: Stills,
    scored: Stills,
    work: Path,
    *,
    device: torch.device,
    protocol: Protocol,
    rows: Sequence[str] = ROWS,
    seeds: Sequence[int] = (0, 1, 2),
    about: Mapping[str, Any] | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[dict[str, Any]]:
    """Train and measure every row with every seed; what `work` holds already is not done again.

    A seed stands for all that is random: the start of the encoder, its training, the patients and the head.

    Parameters
    ----------
    base : PretrainConfig
        The budget: architecture, clips, batch, steps.
    source : ClipSource
        On `device`.
    train, scored : Stills
    work : Path
        Gets a run a row and seed, and the measured rows as they come.
    protocol : Protocol
        Its seeds are replaced by the run's.
    rows : sequence of str
        Of `ROWS`.
    seeds : sequence of int
    about : mapping, optional
        What else must be the same for rows to be compared, as plain JSON: the data.

    Returns
    -------
    list of dict
        As `representation.measure` gives them.

    Raises
    ------
    BenchError
        If `work` holds rows that were measured with something else.
    """
    jobs = [(row, row_config(row, replace(base, seed=seed)), seed) for seed in seeds for row in rows]
    asked = {"config": as_dict(base), "protocol": asdict(replace(protocol, seeds=())), **(about or {})}
    measured = _open(work, json.loads(json.dumps(asked)))
    for done, (row, config, seed) in enumerate(jobs):
        on_progress("rows", done, len(jobs))
        if any(found["encoder"] == row and found["seed"] == seed for found in measured):
            continue
        if row == "random":
            encoder = build_student(config).eval()
        else:
            tell = partial(on_progress, f"{row}, seed {seed}: step")
            encoder = _trained(config, source, work / folder(row, seed), device, tell)
        one_seed = replace(protocol, seeds=(seed,))
        fresh = measure(row, encoder.to(device), train, scored, one_seed, on_progress=on_progress)
        measured += fresh
        text = "".join(json.dumps(one) + "\n" for one in measured)
        write_atomically(work / RESULTS, lambda out, text=text: out.write(text.encode()))
    on_progress("rows", len(jobs), len(jobs))
    return [one for one in measured if one["encoder"] in rows and one["seed"] in seeds]


def folder(row: str, seed: int) -> str:
    """Name of a run's folder."""
    return f"{row.lower().replace(' + ', '-').replace(' ', '-')}-{seed}"


def _trained(
    config: PretrainConfig,
    source: ClipSource,
    run_folder: Path,
    device: torch.device,
    on_step: Callable[[int, int], None],
) -> VisionTransformer3D:
    pretrain(
        config,
        source,
        run_folder,
        labelled=labelled_source(config, device),
        world=World(device),
        resume=(run_folder / "checkpoint.pt").exists(),
        on_step=lambda entry: on_step(entry["step"], config.steps),
    )
    return trained_encoder(run_folder)[0]


def _open(work: Path, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that `work` holds; refused where they were measured with something else."""
    work.mkdir(parents=True, exist_ok=True)
    if (work / ASKED).exists():
        before = json.loads((work / ASKED).read_text(encoding="utf-8"))
        other = sorted(key for key in before.keys() | asked.keys() if before.get(key) != asked.get(key))
        if other:
            raise BenchError(
                f"{work} holds rows with another {', '.join(other)}: give the same again, or another folder."
            )
    else:
        write_atomically(work / ASKED, lambda out: out.write(json.dumps(asked, indent=2).encode()))
    if not (work / RESULTS).exists():
        return []
    return [json.loads(line) for line in (work / RESULTS).read_text(encoding="utf-8").splitlines()]
