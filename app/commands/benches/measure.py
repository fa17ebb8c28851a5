"""Errors of measurements on phantoms, and on CAMUS from drafts and from heads of a few patients."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.early_end import early_end_note, keep_results
from app.commands.report import NOTICE, ratio_lines, table
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from app.bench.measure import Group
    from vjepa_core.bench.camus_hearts import CamusHearts

PATIENTS = (1, 2, 5)
OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="CAMUS .npz file; scored on its test split, else on val"
    )
    parser.add_argument(
        "--phantom",
        type=int,
        default=200,
        metavar="N",
        help="number of phantom hearts measured on their true masks (default 200)",
    )
    parser.add_argument(
        "--predicted",
        type=int,
        default=2,
        metavar="M",
        help="number of phantom cines measured on predicted masks, two frames outlined (default 2)",
    )
    parser.add_argument(
        "--patients",
        type=int,
        nargs="*",
        default=list(PATIENTS),
        metavar="K",
        help="numbers of annotated patients of CAMUS for fitted heads (default 1 2 5); none: drafts only",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="number of draws of these patients (default 3)"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="folder that keeps predictions; another run of the same version reads them and continues",
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="folder for Bland-Altman plots")


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Return rows and ratios; after Ctrl+C, SIGTERM or an error, those so far."""
    _check(args)

    from app.bench.machine import machine

    if args.plot is not None:
        from app.bench.plots import check

        check(args.plot / "bland-altman.png")
    hearts = _hearts(args)
    groups: dict[str, Group] = {}
    with keep_results(groups) as ending:
        for group in _groups(args, hearts, on_progress):
            groups[group.title] = group
    result = {
        "name": "measure",
        "machine": machine("torch", "numpy", "contourpy"),
        **ending.fields,
        "rows": [row for group in groups.values() for row in group.rows],
        "ratios": {name: ratio for group in groups.values() for name, ratio in group.ratios.items()},
        "notice": NOTICE,
    }
    if args.plot is not None:
        _plot(args.plot, groups)
    return result


def text(result: dict[str, Any]) -> str:
    """Format a table, an explanation and the ratios."""
    host = result["machine"]
    parts = [f"{host['cores']} cores, {host['cpu']}", *early_end_note(result)]
    lines = [["ROW", "UNIT", "N", "MISSING", "MEAN", "BIAS", "SD", "MAE", "R", "COVERAGE"]]
    for row in result["rows"]:
        numbers = [
            *(_number(row[key], 1) for key in ("reference_mean",)),
            *(_number(row[key], 2) for key in ("bias", "sd", "mae", "r", "coverage")),
        ]
        lines.append([row["what"], row["unit"], str(row["n"]), str(row["missing"]), *numbers])
    parts += [
        "",
        table(lines),
        "",
        "MEAN: of the reference; BIAS, SD and MAE: of measured minus reference; R: Pearson's correlation.",
        "MISSING: a sentence instead of the number. COVERAGE: share of references within 90 % intervals.",
        "CAMUS: experts' masks measured by the same functions; millimetres are nominal (docs/measuring.md).",
        result["notice"],
    ]
    return "\n".join((*parts, *ratio_lines(result["ratios"])))


def _groups(args: argparse.Namespace, hearts: CamusHearts | None, on_progress: OnProgress) -> Iterator[Group]:
    from app.bench import measure as bench

    if args.phantom:
        yield bench.phantom_truth(args.phantom, on_progress)
    if hearts is not None:
        yield bench.camus_experts(hearts)
    if not args.predicted and hearts is None:
        return

    from vjepa_core.bench.encoded_stills import EncodedStills
    from vjepa_core.bench.phantom_beats import Outlined
    from vjepa_core.encoder.load import load_encoder
    from vjepa_core.encoder.precision import inference_device, inference_dtype
    from vjepa_core.fewshot.starter import load_starter

    device = inference_device()
    encoder = load_encoder(device=device, matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    if hearts is not None:
        tokens = EncodedStills(*encoder)
        if starter is not None:
            yield bench.camus_draft(hearts, tokens, starter, keep=args.keep, on_progress=on_progress)
        seeds = range(args.seeds)
        yield from bench.camus_few(
            hearts, tokens, args.patients, seeds, keep=args.keep, on_progress=on_progress
        )
    if args.predicted:
        for choice in Outlined:
            yield from bench.phantom_predicted(
                args.predicted, choice, encoder, starter, keep=args.keep, on_progress=on_progress
            )


def _hearts(args: argparse.Namespace) -> CamusHearts | None:
    if args.data is None:
        return None
    import numpy as np

    from vjepa_core.bench.camus_hearts import load_hearts

    hearts = load_hearts(args.data)
    available = len(np.unique(hearts.train.patients))
    if args.patients and max(args.patients) > available:
        raise ApicalError(f"The file has {available} training patients: choose 1 to {available} of them.")
    return hearts


def _plot(folder: Path, groups: dict[str, Group]) -> None:
    """Plot the first three quantities of each group, which are ejection fraction and volumes."""
    from app.bench.bland_altman import plot

    for title, group in groups.items():
        compared = [one for one in group.agreements if len(one.measured)][:3]
        if compared:
            plot(folder, title, compared)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _check(args: argparse.Namespace) -> None:
    if min(args.phantom, args.predicted) < 0 or args.seeds < 1 or min(args.patients, default=1) < 1:
        raise ApicalError("--phantom and --predicted must be at least 0, --patients and --seeds at least 1.")
    if not args.phantom and not args.predicted and args.data is None:
        raise ApicalError("There is nothing to measure: give --data camus.npz, --phantom or --predicted.")
    for option, folder in (("--keep", args.keep), ("--plot", args.plot)):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ApicalError(
                f"{folder} cannot be created for {option}: {error.strerror}; choose another folder."
            ) from error
