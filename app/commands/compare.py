"""Measure encoders on your own labels: each labelled frame is drawn from the other ones of its cine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.output_folder import make_folder
from app.commands.progress import Progress
from app.commands.report import Report, table
from app.domain.errors import ApicalError
from app.domain.labels import LabelSet
from app.encoders import registry
from vjepa_core.encoder.catalogue import EncoderCard, read_card

if TYPE_CHECKING:
    from app.commands.labelled_cines import Study
    from vjepa_core.fewshot.compare import EncoderResult, LabelledCine

_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in the table of commands, `--json` apart."""
    parser.add_argument("encoders", nargs="+", metavar="NAME_OR_CARD", help="a name, or a card (.json)")
    parser.add_argument("--project", type=Path, metavar="FILE", help="labels of a project, open or not")
    parser.add_argument("--cine", type=Path, metavar="FILE", help="a cine, with --labels")
    parser.add_argument("--labels", type=Path, help="folder of frame_0012.png, or a NIfTI")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for pictures of what was drawn")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same figures (default 0)")


def run(args: argparse.Namespace) -> Report:
    """Say what is wrong first; then read, fit and draw."""
    if (args.project is None) == (args.cine is None) or (args.cine is None) != (args.labels is None):
        raise ApicalError("Give the labels as --project FILE, or as --cine FILE --labels DIR.")
    if not 0 <= args.seed < 2**63:
        raise ApicalError(f"--seed is {args.seed}; give a whole number from 0 on.")
    cards = [_card(word) for word in args.encoders]
    if args.out is not None:
        make_folder(args.out)

    from app.commands.labelled_cines import from_files, from_project

    reading = from_files(args.cine, args.labels) if args.project is None else from_project(args.project)
    with Progress(_EVERY_S) as progress, reading as study:
        return _compare(args, cards, study, progress)


def _card(word: str) -> EncoderCard:
    return read_card(Path(word)) if word.lower().endswith(".json") else registry.find(word)


def _compare(
    args: argparse.Namespace, cards: Sequence[EncoderCard], study: Study, progress: Progress
) -> Report:
    from app.commands.labelled_cines import pixels
    from app.commands.segment import feature_cache
    from vjepa_core.fewshot import compare
    from vjepa_core.fewshot.held_out import choose_targets

    classes = study.label_set.values
    lengths = {i: one.cine.n_frames for i, one in study.cines.items()}
    outlined = {i: one.outlined for i, one in study.cines.items()}
    labelled = {i: one.labels.keys() for i, one in study.cines.items()}
    targets = choose_targets(outlined, lengths, classes, labelled=labelled)
    cines: dict[int, LabelledCine] = {}
    for i in dict.fromkeys(target.cine for target in targets):
        frames, labels = pixels(study.cines[i], progress)
        cine = study.cines[i].cine
        cines[i] = compare.LabelledCine(frames, cine.timing.fps, labels, pixel_aspect=cine.pixel_aspect)
    # Again, without the labels of damaged frames.
    sound = {
        i: {f: label for f, label in cine.labels.items() if f in outlined[i]} for i, cine in cines.items()
    }
    targets = choose_targets(sound, lengths, classes, labelled=labelled)
    outcomes = compare.compare(
        cines, classes, cards, targets, cache=feature_cache(), seed=args.seed, on_progress=progress
    )
    names = _names(cards)
    rows = _rows(names, outcomes, study.label_set)
    scored = [c.name for c in study.label_set.classes if any(c.value in o.per_class for o in outcomes)]
    scribbled = sum(study.cines[i].scribbled for i in cines)
    data: dict[str, Any] = {
        "encoders": rows,
        "classes": scored or [c.name for c in study.label_set.classes],
        "labelled_frames": study.outlined_frames,
        "note": _note(rows, len(cines), _remarks(names, cards, scribbled, study.missing)),
        "pictures": [] if args.out is None else _pictures(args.out, names, outcomes, cines, study.label_set),
    }
    return Report(data, _text(data, scored))


def _names(cards: Sequence[EncoderCard]) -> list[str]:
    """Names that tell the encoders apart: a second one of a name is called "name (2)"."""
    names: list[str] = []
    for card in cards:
        again = sum(other.name == card.name for other in cards[: len(names)])
        names.append(f"{card.name} ({again + 1})" if again else card.name)
    return names


def _rows(
    names: Sequence[str], outcomes: Sequence[EncoderResult], label_set: LabelSet
) -> list[dict[str, Any]]:
    from vjepa_core.fewshot.compare import interval

    rows = []
    for name, outcome in zip(names, outcomes, strict=True):
        apart = interval(outcomes[0], outcome) if outcome is not outcomes[0] else None
        rows.append(
            {
                "name": name,
                "checksum": outcome.card.checksum,
                "trained": outcome.card.trained,
                "mean_dice": outcome.mean_dice,
                "per_class": {label_set[value].name: dice for value, dice in outcome.per_class.items()},
                "frames": len(outcome.scores),
                "seconds": round(outcome.seconds, 2),
                # To the first encoder, over the same frames, with its 95 % interval.
                "difference": None
                if apart is None
                else dict(zip(("mean", "low", "high"), apart, strict=True)),
            }
        )
    return rows


def _note(rows: Sequence[Mapping[str, Any]], n_cines: int, remarks: Sequence[str]) -> str:
    """What the figures can and cannot say."""
    first, n = rows[0], rows[0]["frames"]
    parts = []
    if n:
        parts.append(f"{_count(n, 'left-out frame')} of {_count(n_cines, 'cine')}.")
    else:
        parts.append(
            "No figures: they need a structure that is outlined on two frames of one cine. "
            "Outline it on one more frame."
        )
    if n == 1 and len(rows) > 1:
        parts.append("One frame says nothing of a difference: outline more.")
    for row in rows[1:]:
        apart = row["difference"]
        if row["checksum"] == first["checksum"]:
            parts.append(f"{row['name']} and {first['name']} are the same weights.")
        elif apart is not None:
            figures = f"{apart['mean']:+.3f} (95 % interval {apart['low']:+.3f} to {apart['high']:+.3f})"
            verdict = "no difference that can be told from chance"
            if apart["low"] > 0 or apart["high"] < 0:
                verdict = "better" if apart["mean"] > 0 else "worse"
            parts.append(f"{row['name']} against {first['name']}: {figures}, {verdict}.")
    if n > 1:
        parts.append("Frames of one cine are alike: other patients may show otherwise.")
    return " ".join((*parts, *remarks))


def _remarks(names: Sequence[str], cards: Sequence[EncoderCard], scribbled: int, missing: int) -> list[str]:
    """What was otherwise than in the window, or left out."""
    from vjepa_core.fewshot.starter import load_starter

    remarks = []
    started = [name for name, card in zip(names, cards, strict=True) if load_starter(card) is not None]
    if started:
        alike = ", alike for all encoders" if len(cards) > 1 else ""
        remarks.append(
            f"Fits start from an untrained head{alike}; in the window those over {' and '.join(started)} "
            "start from the head that ships."
        )
    if scribbled:
        remarks.append(f"{_count(scribbled, 'scribbled frame')} learnt from and not scored.")
    if missing:
        remarks.append(f"{_count(missing, 'labelled cine')} not found and left out.")
    return remarks


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _text(data: Mapping[str, Any], scored: Sequence[str]) -> str:
    first = data["encoders"][0]
    rows = [("ENCODER", "TRAINED", "MEAN DICE", *(name.upper() for name in scored), "SECONDS")]
    for row in data["encoders"]:
        figures = [_figure(row["mean_dice"], first["mean_dice"], row is first)]
        figures += [_figure(row["per_class"].get(c), first["per_class"].get(c), row is first) for c in scored]
        rows.append((row["name"], "yes" if row["trained"] else "no", *figures, f"{row['seconds']:.0f}"))
    lines = [table(rows), "", data["note"]]
    if data["pictures"]:
        folder = Path(data["pictures"][0]["truth"]).parent
        lines.append(f"Pictures of {len(data['pictures'])} frames are in {folder}.")
    return "\n".join(lines)


def _figure(value: float | None, first: float | None, is_first: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if is_first or first is None else f"{value:.3f} ({value - first:+.3f})"


def _pictures(
    out: Path,
    names: Sequence[str],
    outcomes: Sequence[EncoderResult],
    cines: Mapping[int, LabelledCine],
    label_set: LabelSet,
) -> list[dict[str, Any]]:
    """Write, for each target, what every encoder's head drew, and what the user drew."""
    from app.commands.outline_picture import draw_outlines, write_picture

    pictures = []
    for place, drawing in enumerate(outcomes[0].predictions):
        cine, frame = drawing.target.cine, drawing.target.frame
        image, aspect = cines[cine].frames[frame], cines[cine].pixel_aspect
        truth = cines[cine].labels[frame] if drawing.target.scored else None
        stem = f"cine{cine}_frame{frame:04d}"
        files = {}
        for number, (name, outcome) in enumerate(zip(names, outcomes, strict=True), 1):
            path = out / f"{stem}_{number}-{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.png"
            write_picture(path, draw_outlines(image, outcome.predictions[place].mask, label_set, aspect))
            files[name] = str(path)
        path = out / f"{stem}_truth.png"
        write_picture(path, draw_outlines(image, truth, label_set, aspect))
        pictures.append(
            {"cine": cine, "frame": frame, "files": files, "truth": str(path), "labelled": truth is not None}
        )
    return pictures
