"""Few labels: the program against what users would do instead, on CAMUS stills and within cines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.early_end import keeping
from app.commands.benches.fewshot_text import text
from app.commands.benches.user_cines import project_cines
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.fewshot_rows import LineUp
    from vjepa_core.bench.scored_cines import ScoredCine
    from vjepa_core.encoder.loaded import LoadedEncoder

__all__ = ["add_arguments", "measure", "text"]

PATIENTS = (1, 2, 5, 10, 40, 400)
OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`[--data FILE] [--cines [PROJECT...]] [--patients LIST] [--frames LIST] [--seeds N] ...`."""
    parser.add_argument("--data", type=Path, metavar="FILE", help="CAMUS as .npz; scored on test, else val")
    parser.add_argument(
        "--cines",
        type=Path,
        nargs="*",
        metavar="PROJECT",
        help="within cines: phantom ones, pseudo-cines of the scored patients of --data, those of projects",
    )
    several = ",".join(map(str, PATIENTS))
    parser.add_argument("--patients", type=_counts, metavar="LIST", help=f"of CAMUS (default {several})")
    parser.add_argument(
        "--frames",
        type=_counts,
        default=[1, 2, 3],
        metavar="LIST",
        help="annotated of a cine (default 1,2,3)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds (default 3)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="of them (default 0)")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="of each fit of ours (default: the program's steps); the U-Net gets what ours took",
    )
    parser.add_argument(
        "--converged",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="most of the U-Net that is left to converge, 0 for none (default 1800)",
    )
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW", help="default: all; a wrong one is told the others"
    )
    parser.add_argument(
        "--phases",
        action="store_true",
        help="within cines: annotate end-diastole alone, then end-systole alone, and score both phases "
        "beside the draft (in place of --frames, --rows and --budget)",
    )
    parser.add_argument("--encoder", metavar="NAME", help="in place of the one that ships")
    parser.add_argument("--stills", type=int, metavar="N", help="score so many stills only")
    parser.add_argument(
        "--phantom", type=int, default=6, metavar="N", help="cines, and as many pseudo-cines (default 6)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of Dice by labels and by seconds")


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Rows, their summary, how far ours is ahead, and ratios.

    Ctrl+C, SIGTERM or an error ends it with the rows that are there. The error is told on stderr and under
    "error".
    """
    _check(args)
    if args.phases:
        return _phases(args, on_progress)

    from app.bench.machine import machine
    from vjepa_core.bench.fewshot_rows import WORDS, LineUp

    if args.plot:
        from app.bench.plots import check

        check(args.plot)
    line_up = LineUp(args.rows or WORDS, _loader(args.encoder), args.budget, args.converged)
    stages = [
        *([_stills(args, line_up, on_progress)] if args.data is not None else []),
        *([_cines(args, line_up, on_progress)] if args.cines is not None else []),
    ]
    rows: list[dict[str, Any]] = []
    with keeping(rows) as ending:
        for stage in stages:
            stage(rows.append)
    result = {
        "name": "fewshot",
        "machine": _threads(machine("torch", "monai", "scikit-learn", "scikit-image", "numpy")),
        **ending.fields,
        "rows": rows,
        **_together(rows),
    }
    if args.plot:
        from app.bench.fewshot_plot import plot

        plot(args.plot, result["summary"])
    return result


Stage = Callable[[Callable[[dict[str, Any]], None]], None]


def _stills(args: argparse.Namespace, line_up: LineUp, on_progress: OnProgress) -> Stage:
    import numpy as np

    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.fewshot import check, run, some

    train, scored = load_camus(args.data)
    there = len(np.unique(train.patients))
    patients = args.patients or [count for count in PATIENTS if count <= there]
    scored = scored if args.stills is None else some(scored, args.stills)
    contestants = line_up.on_stills()
    check(train, scored, contestants, patients)

    def stage(on_row: Callable[[dict[str, Any]], None]) -> None:
        seeds = _seeds(args)
        run(
            train,
            scored,
            contestants,
            patients=patients,
            seeds=seeds,
            on_progress=on_progress,
            on_row=on_row,
        )

    return stage


def _cines(args: argparse.Namespace, line_up: LineUp, on_progress: OnProgress) -> Stage:
    from vjepa_core.bench.fewshot_cines import run_cines

    given = [cine for path in args.cines for cine in project_cines(path, on_progress)]
    ours, learners = line_up.within_cines(), line_up.learners()

    def stage(on_row: Callable[[dict[str, Any]], None]) -> None:
        run_cines(
            [*given, *_made(args, on_progress)],
            ours=ours,
            learners=learners,
            carried=line_up.carried(),
            counts=args.frames,
            seeds=_seeds(args),
            budget_s=args.budget,
            on_progress=on_progress,
            on_row=on_row,
        )

    return stage


def _made(args: argparse.Namespace, on_progress: OnProgress) -> list[ScoredCine]:
    """Phantoms, and pseudo-cines of the scored patients."""
    from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines

    on_progress("making cines", 0, 1)
    made = phantom_cines(args.phantom)
    return made if args.data is None else made + pseudo_cines(args.data, args.phantom)


def _phases(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Both phases after one annotated frame, from the head that ships, as in the window."""
    from app.bench.machine import machine
    from vjepa_core.bench.fewshot_rows import BUNDLED
    from vjepa_core.bench.other_phase import run_phases, summary_phases
    from vjepa_core.fewshot.starter import load_starter

    encoder = _loader(args.encoder)(BUNDLED)
    starter = load_starter(encoder[1])
    if starter is None:
        raise ApicalError(f"There is no draft over {encoder[1].name}: leave --encoder out.")
    rows: list[dict[str, Any]] = []
    with keeping(rows) as ending:
        given = [cine for path in args.cines for cine in project_cines(path, on_progress)]
        run_phases(
            [*given, *_made(args, on_progress)],
            encoder,
            starter,
            seeds=_seeds(args),
            on_progress=on_progress,
            on_row=rows.append,
        )
    return {
        "name": "fewshot",
        "machine": _threads(machine("torch", "numpy")),
        **ending.fields,
        "rows": rows,
        "phases": summary_phases(rows),
    }


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Summary, differences and ratios, of stills and of cines."""
    from vjepa_core.bench.fewshot import differences, ratios
    from vjepa_core.bench.fewshot_cines import differences_cines, ratios_cines, summary_cines
    from vjepa_core.bench.scores import summary

    stills = [row for row in rows if row["kind"] == "camus"]
    cines = [row for row in rows if row["kind"] != "camus"]
    of_stills = summary(stills, ("kind", "patients", "what", "encoder"))
    of_cines = summary_cines(cines)
    return {
        "summary": [*of_stills, *of_cines],
        "differences": [*differences(stills, ("kind", "patients")), *differences_cines(cines)],
        "ratios": {**ratios(of_stills), **ratios_cines(of_cines)},
    }


def _loader(own: str | None) -> Callable[[str], LoadedEncoder]:
    """Loads each encoder once, when it is first asked for; a name that there is not is told at once."""
    from functools import cache

    from app.encoders.registry import encoder_folders
    from vjepa_core.bench.fewshot_rows import BUNDLED
    from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER, card
    from vjepa_core.encoder.load import load_encoder
    from vjepa_core.encoder.precision import inference_device, inference_dtype

    folders, device = encoder_folders(), inference_device()
    names = {BUNDLED: card(own or DEFAULT_ENCODER, folders).name}

    @cache
    def load(which: str) -> LoadedEncoder:
        name = names.get(which, UNTRAINED_ENCODER)
        return load_encoder(name, device, folders, matrices=inference_dtype(device))

    return load


def _threads(about: dict[str, Any]) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {**about, "threads": torch.get_num_threads(), "gpu": gpu}


def _seeds(args: argparse.Namespace) -> range:
    return range(args.first_seed, args.first_seed + args.seeds)


def _check(args: argparse.Namespace) -> None:
    if args.data is None and args.cines is None:
        raise ApicalError("There is nothing to measure on: give --data camus.npz, --cines, or both.")
    if args.phases and args.cines is None:
        raise ApicalError("--phases measures within cines: give --cines too.")
    if args.seeds < 1 or args.first_seed < 0 or (args.stills is not None and args.stills < 1):
        raise ApicalError("--seeds and --stills count from 1, --first-seed from 0.")
    if args.phantom < 0 or (args.cines == [] and args.phantom < 1):
        raise ApicalError("--phantom counts from 1, or from 0 where --cines names projects.")
    if not args.converged >= 0 or (args.budget is not None and not args.budget > 0):
        raise ApicalError("--budget is more than 0 seconds, --converged 0 or more.")


def _counts(word: str) -> list[int]:
    """ "1,2,5" in increasing order."""
    try:
        counts = sorted({int(part) for part in word.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{word} is no list of numbers from 1 on, such as 1,2,5")
    return counts
