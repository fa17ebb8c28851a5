"""Applicability of a head: masks on apical views, and no masks on other images."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.early_end import early_end_note, keep_results
from app.commands.report import table
from app.domain.errors import ApicalError, CineError

if TYPE_CHECKING:
    from vjepa_core.bench.applicability import Decision, Example

OnProgress = Callable[[str, int, int], None]

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="CAMUS .npz file, of which the scored stills are used"
    )
    parser.add_argument(
        "--apical",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="apical cines and stills, or folders of them",
    )
    parser.add_argument(
        "--other", type=Path, nargs="+", default=[], metavar="PATH", help="other cines and images, or folders"
    )
    parser.add_argument(
        "--phantom", type=int, default=20, metavar="N", help="number of phantom cines (default 20)"
    )
    parser.add_argument(
        "--textures",
        type=int,
        default=55,
        metavar="N",
        help="number of synthetic textures and drawings (default 55)",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth file (default 1)")
    parser.add_argument(
        "--draft-only", action="store_true", help="measure only the draft head, no head fitted to a cine"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of textures and fits (default 0)"
    )


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Return a row for each kind of image and each head.

    A head is fitted to the first cine of `--apical`, else to a phantom, with the draft's masks on two of its
    frames as outlines. After Ctrl+C, SIGTERM or an error, the rows so far are returned.
    """
    if args.every < 1 or min(args.phantom, args.textures) < 0:
        raise ApicalError("--every must be at least 1, --phantom and --textures at least 0.")
    missing = [path for path in (*args.apical, *args.other) if not path.exists()]
    if missing:
        raise ApicalError(f"{missing[0]} does not exist; check the path.")

    import torch

    from app.bench.machine import machine
    from vjepa_core.bench.applicability import decide, project_head, rows
    from vjepa_core.encoder.load import load_encoder
    from vjepa_core.encoder.precision import inference_device, inference_dtype
    from vjepa_core.fewshot.starter import load_starter

    device = inference_device()
    encoder = load_encoder(device=device, matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    if starter is None:
        raise ApicalError("There is no draft head for this encoder: install Apical again.")
    starter.head.to(device)
    project = None
    if not args.draft_only:
        on_progress("fitting to one cine", 0, 1)
        project = project_head(_first(args), encoder, starter, seed=args.seed)
    decisions: list[Decision] = []
    with keep_results(decisions) as ending:
        for decision in decide(_examples(args), encoder, starter, project, on_progress):
            decisions.append(decision)
    about = {**machine("torch", "numpy"), "threads": torch.get_num_threads()}
    return {
        "name": "applicability",
        "machine": about,
        **ending.fields,
        "rows": rows(decisions),
        "ratios": {},
        "pictures": [vars(decision) for decision in decisions],
    }


def text(result: dict[str, Any]) -> str:
    """Format a table, and list the images with wrong decisions."""
    lines = [("IMAGES", "HEAD", "EXPECTED", "N", "MASKS", "CORRECT")]
    lines += [
        (row["kind"], row["head"], row["wanted"], str(row["n"]), str(row["drawn"]), f"{row['right']:.1%}")
        for row in result["rows"]
    ]
    wrong = [
        f"{row['kind']}, {row['head']}: {', '.join(row['wrong'])}" for row in result["rows"] if row["wrong"]
    ]
    return "\n".join([*early_end_note(result), table(lines), *(["", "Wrong:", *wrong] if wrong else [])])


def _first(args: argparse.Namespace) -> Example:
    own = next(_from_files(args.apical, apical=True, every=1), None)
    return own or next(_phantoms(1, first=900))


def _examples(args: argparse.Namespace) -> Iterator[Example]:
    from vjepa_core.bench.applicability import Example
    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.synthetic_images import textures

    yield from _from_files(args.apical, apical=True, every=args.every)
    yield from _phantoms(args.phantom)
    images, kinds = textures(args.textures, seed=args.seed) if args.textures else ((), ())
    for i, (image, kind) in enumerate(zip(images, kinds, strict=True)):
        yield Example("textures", f"{kind} {i}", image[None], 0.0, False)
    yield from _from_files(args.other, apical=False, every=args.every)
    if args.data is not None:
        scored = load_camus(args.data)[1].images[:: args.every]
        for i, image in enumerate(scored):
            yield Example("CAMUS stills", str(i * args.every), image[None], 0.0, True)


def _phantoms(n: int, first: int = 0) -> Iterator[Example]:
    from vjepa_core.bench.applicability import Example
    from vjepa_core.bench.scored_cines import phantom_cines

    for i in range(first, first + n):
        (cine,) = phantom_cines(1, frames=16, first=i)
        yield Example("phantoms", str(i), cine.frames, cine.fps, True)


def _from_files(paths: Sequence[Path], *, apical: bool, every: int) -> Iterator[Example]:
    """Read cines and stills from files and folders; unreadable ones are logged and skipped."""
    from app.readers.open import open_cine
    from vjepa_core.bench.applicability import Example

    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    for file in files[::every]:
        try:
            cine = open_cine(file)
        except CineError as error:
            log.warning("%s", error)
            continue
        try:
            frames = _frames(cine)
        except CineError as error:
            log.warning("%s", error)
            continue
        finally:
            cine.source.close()
        yield Example(file.parent.name, file.name, frames, cine.timing.fps, apical)


def _frames(cine: Any) -> Any:
    import numpy as np

    from vjepa_core.fewshot.features import CLIP_FRAMES, temporal_stride

    count = min(cine.n_frames, CLIP_FRAMES * temporal_stride(cine.timing.fps, 30.0))
    return np.stack([cine.frame(index)[cine.region.slices] for index in range(count)])
