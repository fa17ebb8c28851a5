"""Measure encoders on your own labels: each labelled frame is predicted from the others of its cine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.label_set import add_label_set_argument, read_label_set
from app.commands.output_folder import make_folder
from app.commands.progress import Progress
from app.commands.report import Report, table
from app.domain.errors import ApicalError
from app.domain.labels import LabelSet
from app.encoders import registry
from app.formatting import format_count
from vjepa_core.encoder.catalogue import EncoderCard, read_card

if TYPE_CHECKING:
    from app.commands.labelled_cines import AnnotatedCines
    from vjepa_core.fewshot.compare import EncoderResult, LabelledCine

_INTERVAL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command, except for `--json`."""
    parser.add_argument("encoders", nargs="+", metavar="NAME_OR_CARD", help="a name, or a card (.json)")
    parser.add_argument("--project", type=Path, metavar="FILE", help="labels of a project, open or not")
    parser.add_argument("--cine", type=Path, metavar="FILE", help="a cine, with --labels")
    parser.add_argument("--labels", type=Path, help="folder of frame_0012.png, or a NIfTI")
    add_label_set_argument(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for pictures of the predictions")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same results (default 0)")


def run(args: argparse.Namespace) -> Report:
    """Check the input, then fit and measure."""
    if (args.project is None) == (args.cine is None) or (args.cine is None) != (args.labels is None):
        raise ApicalError("Give the labels as --project FILE, or as --cine FILE --labels DIR.")
    if not 0 <= args.seed < 2**63:
        raise ApicalError(f"--seed is {args.seed}; give a whole number from 0 on.")
    cards = [_card(name) for name in args.encoders]
    if args.out is not None:
        make_folder(args.out)

    from app.commands.labelled_cines import from_files, from_project

    if args.project is not None:
        opening = from_project(args.project)
    else:
        structures = read_label_set(args.label_set, args.labels)
        opening = from_files(args.cine, args.labels, structures)
    with Progress(_INTERVAL_S) as progress, opening as annotated:
        return _compare(args, cards, annotated, progress)


def _card(name: str) -> EncoderCard:
    return read_card(Path(name)) if name.lower().endswith(".json") else registry.find(name)


def _compare(
    args: argparse.Namespace, cards: Sequence[EncoderCard], annotated: AnnotatedCines, progress: Progress
) -> Report:
    from app.commands.labelled_cines import read_region
    from app.commands.segment import feature_cache
    from vjepa_core.fewshot import compare
    from vjepa_core.fewshot.held_out import choose_targets

    classes = annotated.label_set.values
    lengths = {i: one.cine.n_frames for i, one in annotated.cines.items()}
    outlined = {i: one.outlined for i, one in annotated.cines.items()}
    labelled = {i: one.labels.keys() for i, one in annotated.cines.items()}
    targets = choose_targets(outlined, lengths, classes, labelled=labelled)
    cines: dict[int, LabelledCine] = {}
    for i in dict.fromkeys(target.cine for target in targets):
        frames, labels = read_region(annotated.cines[i], progress)
        cine = annotated.cines[i].cine
        cines[i] = compare.LabelledCine(frames, cine.timing.fps, labels, pixel_aspect=cine.pixel_aspect)
    # Targets on damaged frames are replaced.
    readable = {
        i: {f: label for f, label in cine.labels.items() if f in outlined[i]} for i, cine in cines.items()
    }
    targets = choose_targets(readable, lengths, classes, labelled=labelled)
    results = compare.compare(
        cines, classes, cards, targets, cache=feature_cache(), seed=args.seed, on_progress=progress
    )
    names = _names(cards)
    rows = _rows(names, results, annotated.label_set)
    scored = [c.name for c in annotated.label_set.structures if any(c.value in o.per_class for o in results)]
    scribbled = sum(annotated.cines[i].n_scribbled for i in cines)
    pictures = []
    if args.out is not None:
        pictures = _pictures(args.out, names, results, cines, annotated.label_set)
    data: dict[str, Any] = {
        "encoders": rows,
        "classes": scored or [c.name for c in annotated.label_set.structures],
        "labelled_frames": annotated.n_outlined,
        "note": _note(rows, len(cines), _remarks(names, cards, scribbled, annotated.missing)),
        "pictures": pictures,
    }
    return Report(data, _text(data, scored))


def _names(cards: Sequence[EncoderCard]) -> list[str]:
    """Return distinct names: the second encoder of a name is called "name (2)"."""
    names: list[str] = []
    for card in cards:
        again = sum(other.name == card.name for other in cards[: len(names)])
        names.append(f"{card.name} ({again + 1})" if again else card.name)
    return names


def _rows(
    names: Sequence[str], results: Sequence[EncoderResult], label_set: LabelSet
) -> list[dict[str, Any]]:
    from vjepa_core.fewshot.compare import interval

    rows = []
    for name, result in zip(names, results, strict=True):
        difference = interval(results[0], result) if result is not results[0] else None
        rows.append(
            {
                "name": name,
                "checksum": result.card.checksum,
                "trained": result.card.trained,
                "mean_dice": result.mean_dice,
                "per_class": {label_set[value].name: dice for value, dice in result.per_class.items()},
                "frames": len(result.scores),
                "seconds": round(result.seconds, 2),
                # Relative to the first encoder, over the same frames, with its 95 % interval.
                "difference": None
                if difference is None
                else dict(zip(("mean", "low", "high"), difference, strict=True)),
            }
        )
    return rows


def _note(rows: Sequence[Mapping[str, Any]], n_cines: int, remarks: Sequence[str]) -> str:
    """Interpret the numbers in a few sentences."""
    first, n = rows[0], rows[0]["frames"]
    parts = []
    if n:
        parts.append(f"{format_count(n, 'left-out frame')} of {format_count(n_cines, 'cine')}.")
    else:
        parts.append(
            "There is no result: it needs a structure that is outlined on two frames of one cine. "
            "Outline one on a further frame."
        )
    if n == 1 and len(rows) > 1:
        parts.append("One frame is not enough to compare encoders: outline more frames.")
    for row in rows[1:]:
        difference = row["difference"]
        if row["checksum"] == first["checksum"]:
            parts.append(f"{row['name']} and {first['name']} have the same weights.")
        elif difference is not None:
            low, high = difference["low"], difference["high"]
            numbers = f"{difference['mean']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
            verdict = "no significant difference"
            if low > 0 or high < 0:
                verdict = "better" if difference["mean"] > 0 else "worse"
            parts.append(f"{row['name']} against {first['name']}: {numbers}, {verdict}.")
    if n > 1:
        parts.append("Frames of one cine are similar: results for other patients may differ.")
    return " ".join((*parts, *remarks))


def _remarks(names: Sequence[str], cards: Sequence[EncoderCard], scribbled: int, missing: int) -> list[str]:
    """Describe differences from the window, and labels that were left out."""
    from vjepa_core.fewshot.starter import load_starter

    remarks = []
    started = [name for name, card in zip(names, cards, strict=True) if load_starter(card) is not None]
    if started:
        alike = ", the same for all encoders" if len(cards) > 1 else ""
        remarks.append(
            f"Fits start from an untrained head{alike}; in the window those over {' and '.join(started)} "
            "start from the starter head."
        )
    if scribbled:
        remarks.append(
            f"{format_count(scribbled, 'scribbled frame')} {_be(scribbled)} used in fits but not scored."
        )
    if missing:
        found = "was" if missing == 1 else "were"
        remarks.append(
            f"{format_count(missing, 'labelled cine')} {found} not found and {_be(missing)} left out."
        )
    return remarks


def _be(n: int) -> str:
    return "is" if n == 1 else "are"


def _text(data: Mapping[str, Any], scored: Sequence[str]) -> str:
    first = data["encoders"][0]
    rows = [("ENCODER", "TRAINED", "MEAN DICE", *(name.upper() for name in scored), "SECONDS")]
    for row in data["encoders"]:
        numbers = [_number(row["mean_dice"], first["mean_dice"], row is first)]
        numbers += [_number(row["per_class"].get(c), first["per_class"].get(c), row is first) for c in scored]
        rows.append((row["name"], "yes" if row["trained"] else "no", *numbers, f"{row['seconds']:.0f}"))
    lines = [table(rows), "", data["note"]]
    if data["pictures"]:
        folder = Path(data["pictures"][0]["truth"]).parent
        lines.append(f"Pictures of {len(data['pictures'])} frames are in {folder}.")
    return "\n".join(lines)


def _number(value: float | None, first: float | None, is_first: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if is_first or first is None else f"{value:.3f} ({value - first:+.3f})"


def _pictures(
    out: Path,
    names: Sequence[str],
    results: Sequence[EncoderResult],
    cines: Mapping[int, LabelledCine],
    label_set: LabelSet,
) -> list[dict[str, Any]]:
    """Write a picture of each prediction and of the label of each target."""
    from app.commands.outline_picture import draw_outlines, write_picture

    pictures = []
    for i, prediction in enumerate(results[0].predictions):
        cine, frame = prediction.target.cine, prediction.target.frame
        image, aspect = cines[cine].frames[frame], cines[cine].pixel_aspect
        truth = cines[cine].labels[frame] if prediction.target.scored else None
        stem = f"cine{cine}_frame{frame:04d}"
        files = {}
        for number, (name, result) in enumerate(zip(names, results, strict=True), 1):
            path = out / f"{stem}_{number}-{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.png"
            write_picture(path, draw_outlines(image, result.predictions[i].mask, label_set, aspect))
            files[name] = str(path)
        path = out / f"{stem}_truth.png"
        write_picture(path, draw_outlines(image, truth, label_set, aspect))
        pictures.append(
            {"cine": cine, "frame": frame, "files": files, "truth": str(path), "labelled": truth is not None}
        )
    return pictures
