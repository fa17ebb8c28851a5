"""Fits of a head: steps, batches, classes, and its file."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import CAVITY, WALL, beating, dice
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.fit import Batch, Fit, FitConfig, predict
from vjepa_core.fewshot.head import HeadFileError, load_head, save_head, with_new_classes
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.starter import new_head

pytestmark = pytest.mark.slow

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]
QUICK = FitConfig(steps=12, warm_steps=6)


def fitted(prepared: PreparedCine, encoder: LoadedEncoder, config: FitConfig = QUICK) -> Fit:
    fit = Fit(new_head(encoder[1], (1, 2)), [prepared], config, warm=False)
    while not fit.done:
        fit.step()
    return fit


def test_a_new_head_predicts_the_carried_label(prepared: PreparedCine, small_encoder: LoadedEncoder) -> None:
    head = new_head(small_encoder[1], (1, 2)).eval()
    prediction = predict(head, prepared, [3])
    assert torch.equal(prediction.argmax(1), prepared.prior([3], 3).argmax(1))


def test_a_fit_is_repeatable_and_ends_after_its_steps(
    prepared: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    one, two = fitted(prepared, small_encoder), fitted(prepared, small_encoder)
    assert one.done_steps == one.total == QUICK.steps
    for a, b in zip(one.averaged.parameters(), two.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_batches_are_assembled_during_the_previous_step(
    prepared: PreparedCine, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, bool]] = []
    whole = Fit._batch

    def watched(fit: Fit, step: int) -> Batch:
        made.append((step, threading.current_thread() is threading.main_thread()))
        return whole(fit, step)

    monkeypatch.setattr(Fit, "_batch", watched)
    one = fitted(prepared, small_encoder)
    assert made == [(0, True), *((step, False) for step in range(1, QUICK.steps))]

    monkeypatch.setattr(Fit, "_prefetch", lambda fit, step: contextlib.nullcontext())
    made.clear()
    two = fitted(prepared, small_encoder)
    assert made == [(step, True) for step in range(QUICK.steps)]
    for a, b in zip(one.averaged.parameters(), two.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_cines_are_not_read_between_two_steps(
    prepared: PreparedCine, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, under_way = Fit._batch, threading.Event()

    def slow(fit: Fit, step: int) -> Batch:
        under_way.set()
        time.sleep(0.2 if step else 0)
        batch = whole(fit, step)
        under_way.clear()
        return batch

    monkeypatch.setattr(Fit, "_batch", slow)
    fit = Fit(new_head(small_encoder[1], (1, 2)), [prepared], QUICK, warm=False)
    fit.step()
    assert not under_way.is_set()


def test_an_error_in_a_batch_is_raised_by_the_previous_step(
    prepared: PreparedCine, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Fit._batch

    def third_fails(fit: Fit, step: int) -> Batch:
        if step == 2:
            raise MemoryError
        return whole(fit, step)

    monkeypatch.setattr(Fit, "_batch", third_fails)
    fit = Fit(new_head(small_encoder[1], (1, 2)), [prepared], QUICK, warm=False)
    fit.step()
    with pytest.raises(MemoryError):
        fit.step()


def test_a_warm_fit_continues_from_the_given_head(
    prepared: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    before = fitted(prepared, small_encoder)
    warm = Fit(before.averaged, [prepared], QUICK, warm=True)
    assert warm.total == QUICK.warm_steps
    frames = [2, 3]
    first = predict(warm.averaged, prepared, frames)
    torch.testing.assert_close(first, predict(before.averaged.eval(), prepared, frames))


def test_more_labels_need_more_steps() -> None:
    config = FitConfig(steps=80, warm_steps=40)
    lengths = [(one.steps, one.warm_steps) for one in map(config.for_labels, (1, 4, 16, 1600))]
    assert lengths == [(80, 40), (80, 40), (160, 80), (1600, 80)]
    across = [(one.steps, one.warm_steps) for one in (config.for_labels(n, n) for n in (4, 16, 81, 256))]
    assert across == [(141, 40), (200, 80), (600, 160), (800, 160)]  # one net only from 80 on


def test_a_head_with_new_classes_keeps_its_features_and_predicts_the_carried_label(
    prepared: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    before = fitted(prepared, small_encoder).averaged
    other = with_new_classes(before, (4, 7, 9))
    assert other.config.classes == (4, 7, 9)
    assert other.config.encoder_checksum == before.config.encoder_checksum
    assert torch.equal(other.feature_net.feature_proj.weight, before.feature_net.feature_proj.weight)
    image = torch.randn(1, 3, 224, 224)
    nothing = torch.zeros(1, 4, 112, 112)
    logits = other.eval()(image, prepared.tokens([0]), nothing)
    assert (logits == 0).all()
    again = with_new_classes(before, (4, 7, 9))
    for one, two in zip(other.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_fit_without_labels_is_rejected(prepared: PreparedCine, small_encoder: LoadedEncoder) -> None:
    prepared.labels = {}
    with pytest.raises(ValueError, match="no annotated frame"):
        Fit(new_head(small_encoder[1], (1, 2)), [prepared], QUICK, warm=False)


def test_a_class_that_was_not_outlined_is_not_predicted(
    prepared: PreparedCine, heart: Heart, small_encoder: LoadedEncoder
) -> None:
    only_cavity = np.where(heart[1][0] == CAVITY, CAVITY, 0).astype(np.uint8)
    prepared.labels = {0: frame_label(only_cavity, prepared.box, (1, 2))}
    fit = fitted(prepared, small_encoder)
    assert fit.averaged.active.tolist() == [True, True, False]
    assert predict(fit.averaged, prepared, [5])[0, 2].max() < 1e-6


def test_a_frame_with_one_structure_does_not_suppress_the_other(
    prepared: PreparedCine, heart: Heart, small_encoder: LoadedEncoder
) -> None:
    masks = heart[1]
    only_cavity = np.where(masks[0] == CAVITY, CAVITY, 0).astype(np.uint8)
    prepared.labels[0] = frame_label(only_cavity, prepared.box, (1, 2))
    fit = fitted(prepared, small_encoder, FitConfig(steps=30))
    answers = predict(fit.averaged, prepared, [1, 3])
    for frame, prediction in zip((1, 3), answers, strict=True):
        assert dice(label_image(prediction, prepared.box, (1, 2)), masks[frame], WALL) > 0.75


def test_a_fitted_head_segments_an_unlabelled_cine(
    prepared: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    frames, masks = beating(seed=5)
    other = prepare_cine(1, frames, *small_encoder, fps=30)
    config = FitConfig(steps=60, prior_dropout=0.7, carried_share=0.25)
    fit = fitted(prepared, small_encoder, config)
    prediction = predict(fit.averaged, other, [0])[0]
    assert dice(label_image(prediction, other.box, (1, 2)), masks[0], CAVITY) > 0.6


def test_a_head_is_saved_and_loaded(
    prepared: PreparedCine, small_encoder: LoadedEncoder, tmp_path: Path
) -> None:
    fit = fitted(prepared, small_encoder)
    save_head(fit.averaged, tmp_path / "head.safetensors")
    back = load_head(tmp_path / "head.safetensors")
    assert back.config == fit.averaged.config
    assert torch.equal(predict(back, prepared, [4]), predict(fit.averaged, prepared, [4]))


def test_a_damaged_head_file_is_rejected_by_name(small_encoder: LoadedEncoder, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_head(new_head(small_encoder[1], (1, 2)), path)
    content = path.read_bytes()
    other = content.replace(b"apical-head-3", b"other--head-9")
    assert other != content
    for damage in (content[: len(content) // 2], b"", b"\xff" * 200, other):
        path.write_bytes(damage)
        with pytest.raises(HeadFileError, match=r"mine\.safetensors"):
            load_head(path)
    with pytest.raises(HeadFileError, match="nowhere"):
        load_head(tmp_path / "nowhere.safetensors")
