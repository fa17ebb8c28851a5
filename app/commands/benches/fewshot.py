"""Few labels: the program compared with alternatives, on CAMUS stills and within cines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.early_end import keep_results
from app.commands.benches.fewshot_text import text
from app.commands.benches.user_cines import project_cines
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.fewshot_rows import RowSelection
    from vjepa_core.bench.scored_cines import ScoredCine
    from vjepa_core.encoder.loaded import LoadedEncoder

__all__ = ["add_arguments", "measure", "text"]

PATIENTS = (1, 2, 5, 10, 40, 400)
OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="CAMUS .npz file; scored on its test split, else on val"
    )
    parser.add_argument(
        "--cines",
        type=Path,
        nargs="*",
        metavar="PROJECT",
        help="measure within cines: phantoms, pseudo-cines of --data's scored patients, cines of projects",
    )
    default = ",".join(map(str, PATIENTS))
    parser.add_argument(
        "--patients",
        type=_counts,
        metavar="LIST",
        help=f"numbers of annotated patients of CAMUS (default {default})",
    )
    parser.add_argument(
        "--frames",
        type=_counts,
        default=[1, 2, 3],
        metavar="LIST",
        help="numbers of annotated frames of a cine (default 1,2,3)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="number of seeds (default 3)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="first seed (default 0)")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="time of each fit (default: the program's number of steps); the U-Net gets the same time",
    )
    parser.add_argument(
        "--converged",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="time limit of the U-Net that trains until convergence, 0 to omit it (default 1800)",
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="rows to measure (default: all)")
    parser.add_argument(
        "--phases",
        action="store_true",
        help="within cines: annotate only end-diastole, then only end-systole, and score both phases and "
        "the draft (replaces --frames, --rows and --budget)",
    )
    parser.add_argument("--encoder", metavar="NAME", help="encoder (default: the bundled one)")
    parser.add_argument("--stills", type=int, metavar="N", help="score only this number of stills")
    parser.add_argument(
        "--phantom",
        type=int,
        default=6,
        metavar="N",
        help="number of phantoms and, with --data, of pseudo-cines (default 6)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="file for plots of Dice against labels and seconds"
    )


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Return rows, their summary, differences and ratios.

    After Ctrl+C, SIGTERM or an error, the rows so far are returned, with the error under "error".
    """
    _check(args)
    if args.phases:
        return _phases(args, on_progress)

    from app.bench.machine import machine
    from vjepa_core.bench.fewshot_rows import ROW_NAMES, RowSelection

    if args.plot:
        from app.bench.plots import check

        check(args.plot)
    selection = RowSelection(args.rows or ROW_NAMES, _loader(args.encoder), args.budget, args.converged)
    stages = [
        *([_stills(args, selection, on_progress)] if args.data is not None else []),
        *([_cines(args, selection, on_progress)] if args.cines is not None else []),
    ]
    rows: list[dict[str, Any]] = []
    with keep_results(rows) as ending:
        for stage in stages:
            stage(rows.append)
    result = {
        "name": "fewshot",
        "machine": _threads(machine("torch", "monai", "scikit-learn", "scikit-image", "numpy")),
        **ending.fields,
        "rows": rows,
        **_summaries(rows),
    }
    if args.plot:
        from app.bench.fewshot_plot import plot

        plot(args.plot, result["summary"])
    return result


Stage = Callable[[Callable[[dict[str, Any]], None]], None]


def _stills(args: argparse.Namespace, selection: RowSelection, on_progress: OnProgress) -> Stage:
    import numpy as np

    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.fewshot import run, subsample, validate

    train, scored = load_camus(args.data)
    available = len(np.unique(train.patients))
    patients = args.patients or [count for count in PATIENTS if count <= available]
    scored = scored if args.stills is None else subsample(scored, args.stills)
    entries = selection.on_stills()
    validate(train, scored, entries, patients)

    def stage(on_row: Callable[[dict[str, Any]], None]) -> None:
        seeds = _seeds(args)
        run(
            train,
            scored,
            entries,
            patients=patients,
            seeds=seeds,
            on_progress=on_progress,
            on_row=on_row,
        )

    return stage


def _cines(args: argparse.Namespace, selection: RowSelection, on_progress: OnProgress) -> Stage:
    from vjepa_core.bench.fewshot_cines import run_cines

    own = [cine for path in args.cines for cine in project_cines(path, on_progress)]
    ours, learners = selection.within_cines(), selection.learners()

    def stage(on_row: Callable[[dict[str, Any]], None]) -> None:
        run_cines(
            [*own, *_synthetic(args, on_progress)],
            ours=ours,
            learners=learners,
            carried=selection.carried(),
            counts=args.frames,
            seeds=_seeds(args),
            budget_s=args.budget,
            on_progress=on_progress,
            on_row=on_row,
        )

    return stage


def _synthetic(args: argparse.Namespace, on_progress: OnProgress) -> list[ScoredCine]:
    """Create phantoms, and pseudo-cines of the scored patients."""
    from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines

    on_progress("creating cines", 0, 1)
    phantoms = phantom_cines(args.phantom)
    return phantoms if args.data is None else phantoms + pseudo_cines(args.data, args.phantom)


def _phases(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Score both phases after one annotated frame, starting from the bundled head, as in the window."""
    from app.bench.machine import machine
    from vjepa_core.bench.fewshot_rows import BUNDLED
    from vjepa_core.bench.single_phase import run_phases, summary_phases
    from vjepa_core.fewshot.starter import load_starter

    encoder = _loader(args.encoder)(BUNDLED)
    starter = load_starter(encoder[1])
    if starter is None:
        raise ApicalError(f"There is no draft head for {encoder[1].name}: omit --encoder.")
    rows: list[dict[str, Any]] = []
    with keep_results(rows) as ending:
        own = [cine for path in args.cines for cine in project_cines(path, on_progress)]
        run_phases(
            [*own, *_synthetic(args, on_progress)],
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


def _summaries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute summary, differences and ratios of stills and of cines."""
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
    """Return a function that loads each encoder at its first use; an unknown name is rejected at once."""
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
        raise ApicalError("There is no data to measure: give --data camus.npz, --cines, or both.")
    if args.phases and args.cines is None:
        raise ApicalError("--phases measures within cines: give --cines too.")
    if args.seeds < 1 or args.first_seed < 0 or (args.stills is not None and args.stills < 1):
        raise ApicalError("--seeds and --stills must be at least 1, --first-seed at least 0.")
    if args.phantom < 0 or (args.cines == [] and args.phantom < 1):
        raise ApicalError("--phantom must be at least 1, or at least 0 if --cines names projects.")
    if not args.converged >= 0 or (args.budget is not None and not args.budget > 0):
        raise ApicalError("--budget must be more than 0 seconds, --converged at least 0.")


def _counts(argument: str) -> list[int]:
    """Parse a list such as 1,2,5 and sort it."""
    try:
        counts = sorted({int(part) for part in argument.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{argument} is not a list of positive numbers, such as 1,2,5")
    return counts
