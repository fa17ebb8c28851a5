"""Ablation of the localisation task: compare encoders that differ in their training objective only.

Each arm and seed is one run. All arms of a seed use the same initial weights, clips and masks, and the same
number of operations as arm D. Results are stored in a folder, so that an interrupted experiment can continue.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vjepa_core.bench.arm_scores import Progress, Protocol, nested_patients, score
from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.flops import clip_flops
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.build import build_student
from vjepa_core.pretraining.checkpoint import read_stored_config, write_atomically
from vjepa_core.pretraining.config import PretrainConfig, as_dict
from vjepa_core.pretraining.dense_labels import labelled_source
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.export import trained_encoder
from vjepa_core.pretraining.files import CHECKPOINT
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.log import read_log
from vjepa_core.pretraining.loop import pretrain
from vjepa_core.pretraining.masks import random_tubes
from vjepa_core.pretraining.schedule import TermWeight
from vjepa_core.pretraining.source import ClipSource

_OFF = TermWeight(0.0)
_ON = TermWeight(1.0)

ARMS: Mapping[str, str] = {
    "U": "untrained",
    "A": "V-JEPA",
    "B": "V-JEPA + localisation as built",
    "C": "V-JEPA + leak-free localisation, unrelated targets",
    "D": "V-JEPA + leak-free localisation",
    "M": "VideoMAE",
    "P": "phantom labels",
    "PA": "phantom labels + V-JEPA",
    "PD": "phantom labels + V-JEPA + leak-free localisation",
}
DEFAULT_ARMS = ("U", "A", "C", "D", "B")
"""Arms in the order in which they run within a seed, with the primary comparison first."""
SHARES: Mapping[str, float] = {"echo": 0.25, "phantom": 0.3, "lung": 0.15, "still": 0.3}
"""Fraction of each group of clips in a batch. Pseudo-cines are not used, because they need human outlines."""
MARGIN = 0.02
"""Minimum mean paired difference in Dice between D and both A and C."""
SEEDS_TO_DECIDE = 5
PROBES = 5
"""Approximate number of measurements during a run."""
STOP_AFTER, STOP_BELOW = 0.3, 0.05
"""After this fraction of its run, A must not score lower than the untrained encoder by more than this."""
SETTINGS, RUNS, SCORES, PROBED = "asked.json", "runs", "scores", "probes.jsonl"


def arm_config(arm: str, base: PretrainConfig) -> PretrainConfig:
    """Return the configuration of one arm.

    The number of steps is chosen so that the number of operations equals that of D with `base.steps`. Weight
    and settings of the leak-free task are those of `base`; arm B uses the defaults of `PretrainConfig`.

    Raises
    ------
    BenchError
        If the arm is unknown or `base` has no localisation.
    """
    if arm not in ARMS:
        raise BenchError(f"There is no arm {arm}. Available arms: {', '.join(ARMS)}.")
    if not base.loc.peak:
        raise BenchError("The configuration has no localisation: set loc.peak above 0.")
    plain = replace(base, jepa=_ON, loc=_OFF, ctx=_OFF, pixels=_OFF, truth=_OFF)
    leak_free = replace(
        base.localisation,
        where="windows",
        pool=1,
        pairing="same-cell",
        unrelated_targets=False,
        vary_windows=True,
        ask_time_of_stills=False,
    )
    localised = replace(plain, loc=base.loc, localisation=leak_free)
    configs = {
        "U": plain,
        "A": plain,
        "B": replace(plain, loc=PretrainConfig().loc, localisation=LocalisationConfig()),
        "C": replace(localised, localisation=replace(leak_free, unrelated_targets=True)),
        "D": localised,
        "M": replace(plain, jepa=_OFF, pixels=_ON, masks=(random_tubes(base.grid),), deep=False),
        "P": replace(plain, jepa=_OFF, truth=_ON),
        "PA": replace(plain, truth=_ON),
        "PD": replace(localised, truth=_ON),
    }
    config = configs[arm]
    ratio = clip_flops(localised).total / clip_flops(config).total
    return replace(config, steps=max(1, round(base.steps * ratio)))


def run(
    base: PretrainConfig,
    source: ClipSource,
    train: Stills,
    scored: Stills,
    out: Path,
    *,
    device: torch.device,
    protocol: Protocol,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    about: Mapping[str, Any] | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> None:
    """Train and evaluate every arm with every seed, seed by seed, except results that exist in `out`.

    A seed determines all random choices: initial weights, training, patients and heads.

    Parameters
    ----------
    base : PretrainConfig
        Budget: architecture, clips, batch size and steps of D.
    source : ClipSource
        Training clips on `device`.
    train, scored : Stills
        Labelled stills for fitting heads and for scoring.
    out : Path
        Folder for `asked.json`, `runs/ARM-SEED` with checkpoints, and `scores/ARM-SEED.json`.
    device : torch.device
        Device for training.
    protocol : Protocol
        Evaluation of each encoder.
    arms : sequence of str
        Keys of `ARMS`.
    seeds : sequence of int
        Seeds.
    about : mapping, optional
        Other conditions, as JSON types, that must be equal for comparable rows, such as the data.
    on_progress : callable
        Called with (stage, done, total).

    Raises
    ------
    BenchError
        If `out` contains scores of another configuration, or the features of A collapse.
    """
    jobs = [(arm, arm_config(arm, replace(base, seed=seed)), seed) for seed in seeds for arm in arms]
    settings = {"config": as_dict(base), "protocol": asdict(protocol), **(about or {})}
    _open(out, json.loads(json.dumps(settings)))
    for done, (arm, config, seed) in enumerate(jobs):
        on_progress("arms", done, len(jobs))
        name = f"{arm}-{seed}"
        file = out / SCORES / f"{name}.json"
        if file.exists():
            continue
        result: dict[str, Any] = {"arm": arm, "seed": seed, "steps": 0, "rows": []}
        encoders: dict[str, VisionTransformer3D] = {"start": build_student(config).eval()}
        if arm != "U":
            folder = out / RUNS / name
            probe = _Probe(
                arm, folder, config, train=train, scored=scored, protocol=protocol, seed=seed, device=device
            )
            report_step = partial(on_progress, f"{name}: step")
            _train(config, source, folder, device=device, probe=probe, on_progress=report_step)
            encoders = {which: trained_encoder(folder, which)[0] for which in ("teacher", "student")}
            result |= {"steps": config.steps, "log": _last(folder)}
        for which, encoder in encoders.items():
            rows = score(encoder.to(device), train, scored, protocol, seed=seed, on_progress=on_progress)
            result["rows"] += [{"encoder": which, **row} for row in rows]
        text = json.dumps(result, indent=1)
        write_atomically(file, lambda to, text=text: to.write(text.encode()))
    on_progress("arms", len(jobs), len(jobs))


def report(out: Path) -> dict[str, Any]:
    """Summarise the results in `out`.

    Returns
    -------
    dict
        ``config, protocol, rows, summary, compared, unfinished``: all rows; means over seeds; paired
        differences of mean Dice between two arms by seed, in the primary comparison; completed and total
        steps of runs without a score, and their probes.

    Raises
    ------
    BenchError
        If `out` contains no experiment.
    """
    try:
        settings = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
        files = sorted((out / SCORES).glob("*.json"))
        results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        rows = [{"arm": one["arm"], "seed": one["seed"], **row} for one in results for row in one["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{out} contains no readable experiment: give the folder that was given to --out."
        ) from error
    primary = {
        (row["arm"], row["seed"]): row["mean"]
        for row in rows
        if row["encoder"] in ("teacher", "start")
        and (row["head"], row["patients"]) == ("linear", settings["protocol"]["primary_patients"])
    }
    unfinished = {}
    for folder in sorted((out / RUNS).glob("*")):
        if not (out / SCORES / f"{folder.name}.json").exists():
            log = read_log(folder)
            try:
                steps = read_stored_config(folder).steps
            except PretrainingError:  # ended before its first step
                continue
            unfinished[folder.name] = {
                "step": log[-1]["step"] if log else 0,
                "steps": steps,
                "probes": probes(folder),
            }
    return {
        "config": settings["config"],
        "protocol": settings["protocol"],
        "rows": rows,
        "summary": _summary(rows),
        "compared": {f"{a} - {b}": _differences(primary, a, b) for a, b in ("DA", "DC", "BA", "AU")},
        "unfinished": unfinished,
    }


def verdict(compared: Mapping[str, Mapping[str, float]]) -> str:
    """Evaluate the claim from the paired differences, by the rule fixed before the experiment."""
    against = [compared["D - A"], compared["D - C"]]
    seeds = min(len(one) for one in against)
    floor = compared["A - U"]
    if floor and statistics.fmean(floor.values()) < 0:
        return "Not valid: V-JEPA alone scores below the untrained encoder."
    if seeds < SEEDS_TO_DECIDE:
        return f"Not decided: {seeds} of {SEEDS_TO_DECIDE} seeds."
    if all(statistics.fmean(one.values()) >= MARGIN for one in against):
        return f"Met: D beats A and C by at least {100 * MARGIN:.0f} points."
    return f"Not met: D does not beat both A and C by {100 * MARGIN:.0f} points."


def _differences(primary: Mapping[tuple[str, int], float], arm: str, other: str) -> dict[str, float]:
    """Return the score of `arm` minus that of `other` for each seed with both."""
    seeds = sorted(seed for name, seed in primary if name == arm and (other, seed) in primary)
    return {str(seed): primary[arm, seed] - primary[other, seed] for seed in seeds}


def _summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over seeds for each arm, encoder, head and number of patients."""
    keys = ("arm", "encoder", "head", "patients")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    order = list(ARMS)
    summary = []
    for group in sorted(groups, key=lambda g: (order.index(g[0]), *g[1:])):
        members = groups[group]
        one = dict(zip(keys, group, strict=True)) | {"seeds": len(members)}
        for key in ("mean", "LV", "MYO", "LA"):
            values = [member[key] for member in members]
            one[key] = statistics.fmean(values)
            one[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
        summary.append(one)
    return summary


def _train(
    config: PretrainConfig,
    source: ClipSource,
    folder: Path,
    *,
    device: torch.device,
    probe: _Probe,
    on_progress: Callable[[int, int], None],
) -> None:
    def on_step(entry: dict[str, Any]) -> None:
        on_progress(entry["step"], config.steps)
        probe(entry["step"])

    pretrain(
        config,
        source,
        folder,
        labelled=labelled_source(config, device),
        world=World(device),
        resume=(folder / CHECKPOINT).exists(),
        on_step=on_step,
    )


class _Probe:
    """Computes the primary score a few times during a run and appends it to `probes.jsonl`."""

    def __init__(
        self,
        arm: str,
        folder: Path,
        config: PretrainConfig,
        *,
        train: Stills,
        scored: Stills,
        protocol: Protocol,
        seed: int,
        device: torch.device,
    ) -> None:
        self.arm, self.folder, self.config, self.seed, self.device = arm, folder, config, seed, device
        n = protocol.primary_patients
        self.protocol = replace(protocol, patients=(n,), heads=("linear",))
        self.known, self.scored = train.of(nested_patients(train, seed)[:n]), scored
        each = config.checkpoint_every
        self.every = max(1, round(config.steps / PROBES / each)) * each

    def __call__(self, step: int) -> None:
        """Measure the checkpoint of the previous step if due; called after each step.

        Raises
        ------
        BenchError
            If V-JEPA alone scores lower than the untrained encoder, so that the experiment would be invalid.
        """
        done = step - 1  # the checkpoint of a step is written after this call
        if done == 0:
            encoders = {"start": build_student(self.config).eval()}
        elif done % self.every == 0:
            encoders = {which: trained_encoder(self.folder, which)[0] for which in ("teacher", "student")}
        else:
            return
        scores: dict[str, float] = {"step": done}
        for which, encoder in encoders.items():
            rows = score(encoder.to(self.device), self.known, self.scored, self.protocol, seed=self.seed)
            scores[which] = rows[0]["mean"]
        with (self.folder / PROBED).open("a", encoding="utf-8") as out:
            out.write(json.dumps(scores) + "\n")
        start = next((one["start"] for one in probes(self.folder) if "start" in one), None)
        late = done >= STOP_AFTER * self.config.steps
        if self.arm == "A" and start is not None and late and scores["teacher"] < start - STOP_BELOW:
            raise BenchError(
                f"V-JEPA scores {100 * scores['teacher']:.1f} after {done} of {self.config.steps} steps, "
                f"the untrained encoder {100 * start:.1f}: its features have collapsed. Lower optimiser.lr, "
                "in another folder."
            )


def probes(folder: Path) -> list[dict[str, float]]:
    """Return the primary scores during a run: ``step`` with ``start``, or with ``teacher, student``."""
    if not (folder / PROBED).exists():
        return []
    by_step: dict[int, dict[str, float]] = {}
    for line in (folder / PROBED).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError):  # incomplete line of a killed program
            one = json.loads(line)
            by_step[int(one["step"])] = one
    return [by_step[step] for step in sorted(by_step)]


def _last(folder: Path) -> dict[str, Any]:
    """Return the means of the last 50 steps in the log."""
    entries = read_log(folder)[-50:]
    names = ("loss_jepa", "loss_loc", "effective_rank", "top_share", "position_share", "clips_per_second")
    values = {name: [e[name] for e in entries if e.get(name) is not None] for name in names}
    return {name: statistics.fmean(those) for name, those in values.items() if those}


def _open(out: Path, settings: dict[str, Any]) -> None:
    """Prepare the folder; raise BenchError if it contains scores of another configuration."""
    for folder in (out / RUNS, out / SCORES):
        folder.mkdir(parents=True, exist_ok=True)
    if (out / SETTINGS).exists():
        before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
        other = sorted(key for key in before.keys() | settings.keys() if before.get(key) != settings.get(key))
        if other:
            raise BenchError(
                f"{out} contains scores with another {', '.join(other)}: use the same, or another folder."
            )
    else:
        write_atomically(out / SETTINGS, lambda to: to.write(json.dumps(settings, indent=2).encode()))
