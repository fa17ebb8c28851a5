"""Effect of the localisation task: frozen encoders that differ only in their training objective."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.encoder_table import value_text
from app.commands.benches.settings import config_for, must_exist
from app.commands.report import table
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.pretraining.config import PretrainConfig

PACKED = "packed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of runs and scores; continued if it exists",
    )
    parser.add_argument(
        "--report", action="store_true", help="only print the results that --out contains so far"
    )
    parser.add_argument("--camus", type=Path, metavar="FILE", help="CAMUS .npz file")
    parser.add_argument(
        "--data", type=Path, nargs="+", metavar="DATA", help="cines, folders of cines, packed sets"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML or JSON file, as for `apical pretrain`"
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="training steps of arm D; the others use as many operations"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="number of seeds (default 5)")
    parser.add_argument(
        "--arms", nargs="+", default=[], metavar="ARM", help="arms to train (default: U A C D B)"
    )
    parser.add_argument(
        "--patients",
        type=int,
        nargs="+",
        default=[8, 40, 400],
        metavar="N",
        help="numbers of labelled patients (default 8 40 400)",
    )
    parser.add_argument(
        "--head-steps", type=int, default=400, metavar="N", help="steps of the fit of each head (default 400)"
    )
    parser.add_argument(
        "--phantoms",
        type=int,
        default=300,
        metavar="N",
        help="number of phantom cines added to DATA (default 300)",
    )


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Continue the experiment unless only a report is wanted, and return all its results."""
    from vjepa_core.bench import ablation

    if not args.report:
        _continue(args, on_progress)
    return {"name": "ablation", **ablation.report(args.out)}


def _continue(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> None:
    if args.camus is None or not args.data:
        raise ApicalError("Give --camus and --data, or --report to print the results in --out.")
    least = min(args.seeds, args.head_steps, *args.patients, 1 if args.steps is None else args.steps)
    if least < 1 or args.phantoms < 0:
        raise ApicalError(
            "--seeds, --steps, --head-steps and --patients must be at least 1, --phantoms at least 0."
        )
    must_exist(args.data)

    from dataclasses import replace

    import torch

    from app.storage.filelock import FileLock
    from vjepa_core.bench import ablation
    from vjepa_core.bench.arm_scores import Protocol
    from vjepa_core.bench.camus import load_camus
    from vjepa_core.pretraining.data import load_clips

    config = config_for(args.config)
    if args.steps is not None:
        config = replace(config, steps=args.steps)
    arms = args.arms or ablation.DEFAULT_ARMS
    for arm in arms:
        ablation.arm_config(arm, config)
    train, scored = load_camus(args.camus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(args.out / "experiment")
    try:
        packed = _packed(args.data, args.out / PACKED, args.phantoms, on_progress)
        source = load_clips(
            packed,
            target_fps=config.fps,
            size=config.size,
            clip=config.frames,
            device=device,
            shares=ablation.SHARES,
        )
        ablation.run(
            config,
            source,
            train,
            scored,
            args.out,
            device=device,
            protocol=_protocol(Protocol, config, args),
            arms=arms,
            seeds=tuple(range(args.seeds)),
            about={"data": [_frames(path) for path in packed], "stills": [len(train), len(scored)]},
            on_progress=on_progress,
        )
    finally:
        lock.release()


def _protocol(kind: Any, config: PretrainConfig, args: argparse.Namespace) -> Any:
    """Create the protocol; the primary comparison uses 40 patients, or the next smaller number."""
    patients = tuple(sorted(set(args.patients)))
    return kind(
        frames=config.frames,
        size=config.size,
        patients=patients,
        primary_patients=max((n for n in patients if n <= 40), default=patients[0]),
        head_steps=args.head_steps,
    )


def _packed(
    data: Sequence[Path], cache: Path, phantoms: int, on_progress: Callable[[str, int, int], None]
) -> list[Path]:
    """Return the packed sets, after packing all other files once, without outlines and with phantom cines."""
    from app.pretraining.packing import pack
    from vjepa_core.pretraining.shards import PackedSet

    packed = [path for path in data if PackedSet.is_packed(path)]
    raw = [path for path in data if path not in packed]
    if raw and not PackedSet.is_packed(cache):
        on_progress("packing the data", 0, 1)
        pack(raw, cache, outlines=False, phantoms=phantoms)
    return [*packed, *([cache] if raw else [])]


def _frames(packed: Path) -> dict[str, int]:
    """Count the frames of a packed set by group, to recognise the same set."""
    from collections import Counter

    from vjepa_core.pretraining.shards import PackedSet

    counted: Counter[str] = Counter()
    for cine in PackedSet(packed).cines:
        counted[cine.group] += cine.frames
    return dict(counted)


def text(result: dict[str, Any]) -> str:
    """Format the budget, a table in hundredths of Dice, paired differences and the verdict."""
    from vjepa_core.bench.ablation import ARMS, verdict

    config, protocol = result["config"], result["protocol"]
    lines = [["ARM", "", "ENCODER", "HEAD", "PATIENTS", "SEEDS", "MEAN", "LV", "MYO", "LA"]]
    for row in result["summary"]:
        values = [value_text(row[key], row[f"{key}_sd"]) for key in ("mean", "LV", "MYO", "LA")]
        counts = [str(row["patients"]), str(row["seeds"])]
        lines.append([row["arm"], ARMS[row["arm"]], row["encoder"], row["head"], *counts, *values])
    out = [
        f"{config['architecture']}, {config['steps']} steps of {config['batch']} clips of {config['frames']} "
        f"frames, {config['size']} px (arm D; the others use as many operations)",
        table(lines) if result["summary"] else "No arm is finished yet.",
        "",
        f"Paired differences, teacher, linear head, {protocol['primary_patients']} patients, points of Dice:",
    ]
    for pair, by_seed in result["compared"].items():
        if by_seed:
            points = [100 * value for value in by_seed.values()]
            spread = f" ± {statistics.stdev(points):.1f}" if len(points) > 1 else ""
            each = ", ".join(f"{value:+.1f}" for value in points)
            out.append(f"  {pair}: {statistics.fmean(points):+.1f}{spread} ({len(points)} seeds: {each})")
    out.append(verdict(result["compared"]))
    for name, run in result["unfinished"].items():
        out.append(f"  not finished: {name}, step {run['step']} of {run['steps']}")
        for probe in run["probes"]:
            scores = ", ".join(f"{key} {100 * value:.1f}" for key, value in probe.items() if key != "step")
            out.append(f"    step {probe['step']}: {scores}")
    return "\n".join(out)
