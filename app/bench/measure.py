"""Errors of measurements: on true and predicted masks of phantoms, and on CAMUS from drafts and heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.bench.agreement import Agreement, MeasuredHeart, agreements
from app.bench.measured_views import QUANTITIES, measure, quantities, values_of, view_input
from app.domain.measure.biplane import Method
from app.domain.measure.contour import length_mm
from app.domain.measure.left_heart import LeftHeart, ViewInput
from vjepa_core.bench.camus_hearts import (
    PIXEL_MM,
    VIEWS,
    CamusHearts,
    PredictedStills,
    predict_drafts,
    predict_with_few,
)
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.phantom_beats import (
    Outlined,
    PhantomCine,
    PredictedCine,
    TrueBeat,
    kept_file,
    phantom_cine,
    predict_cine,
)
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.starter import Starter
from vjepa_core.phantom.pairs import LabelledView, make_pairs

OnProgress = Callable[[str, int, int], None]

_TRUTH_SEED = 0x7A17E
_ATTEMPTS = 4
"""Phantoms per wanted cine of which at least one must show two beats; about two of three do."""


_TRUTH = "phantom truth"
_EXPERTS = "camus experts, method camus against ase"
_NOT_PREDICTED = {_TRUTH, _EXPERTS}


@dataclass(frozen=True)
class Group:
    """Rows that belong together, with their values for a plot.

    Attributes
    ----------
    title : str
    agreements : list of Agreement
    """

    title: str
    agreements: list[Agreement]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the benchmark."""
        return [one.row for one in self.agreements]

    @property
    def ratios(self) -> dict[str, float]:
        """Error of stating the mean for every heart over ours, of predicted ejection fractions."""
        if self.title in _NOT_PREDICTED:
            return {}
        found = {one.what: one.over_guess for one in self.agreements if one.what.endswith(" ef")}
        return {
            f"{what}: error of always stating the mean over ours": ratio
            for what, ratio in found.items()
            if ratio is not None
        }


# Phantoms


def phantom_truth(n: int, on_progress: OnProgress) -> Group:
    """Measure the true masks of phantom hearts in two views at end-diastole and end-systole."""
    hearts = []
    generator = torch.Generator().manual_seed(_TRUTH_SEED)
    for done, pair in enumerate(make_pairs(n, generator)):
        on_progress(_TRUTH, done, n)
        both = {"A4C": pair.a4c, "A2C": pair.a2c}
        measured = measure(
            [view_input(name, view.masks.numpy(), _spacing(view)) for name, view in both.items()]
        )
        reference = {"biplane.edv_ml": float(pair.volume[0]), "biplane.esv_ml": float(pair.volume[1])}
        reference["biplane.ef_percent"] = _ef_percent(*pair.volume.tolist())
        for name, view in both.items():
            reference |= true_values(name, view.volume.numpy(), view.endocardium.double().numpy())
        hearts.append(MeasuredHeart(values_of(measured), reference))
    on_progress(_TRUTH, n, n)
    return Group(_TRUTH, agreements(_TRUTH, hearts, quantities("A4C", "A2C")))


def true_values(
    view: str, volume_ml: NDArray[np.floating], endocardium: NDArray[np.float64]
) -> dict[str, float]:
    """Return the true values of one view by key.

    Lengths go from the middle of the annulus to the farthest point of the endocardial line, as for masks.

    Parameters
    ----------
    view : str
    volume_ml : (2,) float
        At end-diastole and end-systole.
    endocardium : (2, n, 2) float
        Endocardial lines in mm.
    """
    axes = [float(np.linalg.norm(line - (line[0] + line[-1]) / 2.0, axis=1).max()) for line in endocardium]
    ed, es = (length_mm(line) for line in endocardium)
    return {
        f"{view}.edv_ml": float(volume_ml[0]),
        f"{view}.esv_ml": float(volume_ml[1]),
        f"{view}.ef_percent": _ef_percent(float(volume_ml[0]), float(volume_ml[1])),
        f"{view}.length_ed_mm": axes[0],
        f"{view}.length_es_mm": axes[1],
        f"{view}.gls_endo_percent": 100.0 * (es - ed) / ed,
    }


def phantom_predicted(
    n: int,
    choice: Outlined,
    encoder: LoadedEncoder,
    starter: Starter | None,
    *,
    keep: Path | None,
    on_progress: OnProgress,
) -> Iterator[Group]:
    """Outline two frames of phantom cines and measure the predicted masks, never the outlines themselves.

    If both phases were outlined, the outlined beat and another one are measured, otherwise any beat; each at
    the true frames of end-diastole and end-systole, and at those that the program proposes. Yields the rows
    so far after each cine: a later group replaces an earlier one with its title.
    """
    hearts: dict[str, list[MeasuredHeart]] = {}
    what, done = f"phantom predicted, {choice} outlined", 0
    for seed in range(_ATTEMPTS * n):
        on_progress(what, done, n)
        cine = phantom_cine(seed)
        if cine is None:
            continue
        file = None if keep is None else kept_file(keep, cine, choice, starter)
        predicted = predict_cine(cine, choice, encoder, starter, keep=file)
        other = cine.measured_beat(predicted.outlined)
        beats = {"any beat": other}
        if choice is Outlined.PHASES:
            beats = {"outlined beat": cine.beats[0], "other beat": other}
        for name, beat in beats.items():
            hearts.setdefault(f"{what}, {name}", []).append(_at_frames(predicted, beat))
            hearts.setdefault(f"{what}, {name} proposed", []).append(_proposed(predicted, beat))
        yield from (
            Group(title, agreements(title, so_far, _single_plane())) for title, so_far in hearts.items()
        )
        done += 1
        if done == n:
            break
    on_progress(what, n, n)


_PLANE = "A4C"
"""Name under which phantom cines of both views are measured."""


def _single_plane() -> list[tuple[str, str, str]]:
    return [(name, f"{_PLANE}.{key}", unit) for name, key, unit in QUANTITIES]


def _at_frames(predicted: PredictedCine, beat: TrueBeat) -> MeasuredHeart:
    """Measure at the true frames of end-diastole and end-systole."""
    cine = predicted.cine
    measured = measure([_phantom_input(predicted, (beat.ed, beat.es))])
    return MeasuredHeart(values_of(measured), _true_beat(cine, beat), measured.intervals)


def _proposed(predicted: PredictedCine, beat: TrueBeat) -> MeasuredHeart:
    """Measure the proposed beat whose end-systole is nearest to the true one; nothing if none is near."""
    cine = predicted.cine
    measured = measure([_phantom_input(predicted, None)])
    beats = measured.views[_PLANE].beats
    distances = [np.inf if one.es_frame is None else abs(one.es_frame - beat.es) for one in beats]
    nearest = int(np.argmin(distances))
    values = values_of(measured, {_PLANE: nearest}) if distances[nearest] < _NEAR_S * cine.fps else {}
    return MeasuredHeart(values, _true_beat(cine, beat))


_NEAR_S = 0.25
"""A proposed end-systole that is farther from the true one belongs to another beat."""


def _phantom_input(predicted: PredictedCine, frames: tuple[int, int] | None) -> ViewInput:
    cine = predicted.cine
    return view_input(
        _PLANE,
        predicted.masks,
        cine.spacing_mm,
        frames=frames,
        fps=cine.fps,
        cavity_dice=predicted.cavity_dice,
        expected_dice=predicted.expected_dice,
    )


def _true_beat(cine: PhantomCine, beat: TrueBeat) -> dict[str, float]:
    frames = [beat.ed, beat.es]
    return true_values(_PLANE, cine.volume_ml[frames], cine.endocardium[frames])


# CAMUS


def camus_experts(hearts: CamusHearts) -> Group:
    """Measure the experts' masks by the method of the CAMUS script, against ASE."""
    compared = []
    for patient in hearts.stills:
        one, two = (
            _camus(hearts, hearts.scored.masks, patient, method=m) for m in (Method.CAMUS, Method.ASE)
        )
        compared.append(MeasuredHeart(values_of(one), values_of(two)))
    return Group(_EXPERTS, agreements(_EXPERTS, compared, quantities("A4C", "A2C")[:3]))


def camus_draft(
    hearts: CamusHearts,
    tokens: EncodedStills,
    starter: Starter,
    *,
    keep: Path | None,
    on_progress: OnProgress,
) -> Group:
    """Measure drafts of stills of patients that no head was fitted to, against the experts' masks."""
    on_progress("camus draft", 0, 1)
    predicted = predict_drafts(hearts, tokens, starter.head, keep)
    on_progress("camus draft", 1, 1)
    return Group(
        "camus draft", agreements("camus draft", compare(hearts, predicted), quantities(*VIEWS.values()))
    )


def camus_few(
    hearts: CamusHearts,
    tokens: EncodedStills,
    patients: Sequence[int],
    seeds: Sequence[int],
    *,
    keep: Path | None,
    on_progress: OnProgress,
) -> Iterator[Group]:
    """Measure the masks of heads that were fitted to a few training patients; all seeds are in one row."""
    total = len(patients) * len(seeds)
    for number, count in enumerate(patients):
        title = f"camus {count} patient{'s' if count > 1 else ''}"
        compared: list[MeasuredHeart] = []
        for done, seed in enumerate(seeds):
            on_progress(title, number * len(seeds) + done, total)
            compared += compare(hearts, predict_with_few(hearts, tokens, count, seed, keep))
            yield Group(title, agreements(title, compared, quantities(*VIEWS.values())))
    on_progress("camus patients", total, total)


def compare(hearts: CamusHearts, predicted: PredictedStills) -> list[MeasuredHeart]:
    """Measure the predicted masks of every patient, and the experts' masks as the reference."""
    compared = []
    for patient in hearts.stills:
        measured = _camus(hearts, predicted.masks, patient, predicted)
        reference = _camus(hearts, hearts.scored.masks, patient)
        compared.append(MeasuredHeart(values_of(measured), values_of(reference), measured.intervals))
    return compared


def _camus(
    hearts: CamusHearts,
    masks: NDArray[np.uint8],
    patient: str,
    predicted: PredictedStills | None = None,
    *,
    method: Method = Method.ASE,
) -> LeftHeart:
    views = []
    for view in VIEWS.values():
        both = [hearts.stills[patient][view, phase] for phase in ("ED", "ES")]
        views.append(
            view_input(
                view,
                masks[both],
                PIXEL_MM,
                cavity_dice=() if predicted is None else predicted.cavity_dice[both],
                expected_dice=() if predicted is None else predicted.expected_dice[both],
            )
        )
    return measure(views, method)


def _ef_percent(edv: float, esv: float) -> float:
    return 100.0 * (edv - esv) / edv


def _spacing(view: LabelledView) -> tuple[float, float]:
    height, width = view.mm_per_px.tolist()
    return height, width
