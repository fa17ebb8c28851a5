"""One outlined phase must not make the other phase worse than its draft."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.unit.fewshot.beating import beating, dice
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot import draft as drafts
from vjepa_core.fewshot import pipeline
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.draft import Draft, blend_with_draft, draft_share, predict_with_draft
from vjepa_core.fewshot.fit import FitConfig, predict
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.heart_shape import N_DESCRIPTORS, ShapeModel
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.fewshot.starter import Starter, new_head

CLASSES = (1, 2)
WIDE, NARROW = 0, 6  # of 12 frames


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint8]:
    return beating(12)[1]


@pytest.fixture
def still(truth: NDArray[np.uint8], small_encoder: LoadedEncoder) -> PreparedCine:
    """A cine without motion, so that carried labels do not move; one frame is outlined."""
    frames = np.repeat(beating(12)[0][:1], 12, axis=0)
    cine = prepare_cine(0, frames, *small_encoder, fps=30)
    cine.labels = {WIDE: frame_label(truth[WIDE], cine.box, CLASSES)}
    return cine


def maps(cine: PreparedCine, masks: Iterable[NDArray[np.uint8]]) -> Tensor:
    """Probabilities of label images."""
    each = [frame_label(mask, cine.box, CLASSES).target for mask in masks]
    return torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2).contiguous()


def drafted(cine: PreparedCine, head: Head, masks: Iterable[NDArray[np.uint8]]) -> Draft:
    """A draft with these label images."""
    draft = Draft(head, cine)
    draft.store(range(cine.n_frames), maps(cine, masks))
    return draft


def head_of(encoder: LoadedEncoder) -> Head:
    return new_head(encoder[1], CLASSES).eval()


def test_the_draft_replaces_a_carried_label_that_lags_behind(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    head = head_of(small_encoder)  # untrained: its prediction is the carried label
    draft = drafted(still, head_of(small_encoder), truth)
    frames = range(12)
    alone = [label_image(one, still.box, CLASSES) for one in predict(head, still, frames)]
    shown = [label_image(one, still.box, CLASSES) for one in predict_with_draft(head, still, frames, draft)]
    for value in CLASSES:
        assert dice(alone[NARROW], truth[NARROW], value) < 0.9
        assert dice(shown[NARROW], truth[NARROW], value) > 0.97
        for frame in frames:
            assert dice(shown[frame], truth[frame], value) >= dice(alone[frame], truth[frame], value) - 0.005


def test_a_prediction_that_follows_the_beat_is_not_replaced(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    draft = drafted(still, head_of(small_encoder), truth)
    follows = maps(still, truth)
    assert draft_share(follows, draft(range(12)), still, range(12), draft).max() < 0.05
    stays = maps(still, [truth[WIDE]] * 12)
    share = draft_share(stays, draft(range(12)), still, range(12), draft)
    assert share[NARROW] > 0.9
    assert share[WIDE] == 0
    assert torch.equal(blend_with_draft(stays[[WIDE]], still, [WIDE], draft), stays[[WIDE]])


def test_with_both_phases_outlined_the_draft_is_not_used(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    draft = drafted(still, head_of(small_encoder), truth)
    still.labels[NARROW] = frame_label(truth[NARROW], still.box, CLASSES)
    stays = maps(still, [truth[WIDE]] * 6 + [truth[NARROW]] * 6)
    assert draft_share(stays, draft(range(12)), still, range(12), draft)[NARROW] == 0


def test_a_draft_that_disagrees_with_the_outlines_is_not_used(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    elsewhere = [np.roll(mask, 40, axis=1) for mask in truth]
    draft = drafted(still, head_of(small_encoder), elsewhere)
    stays = maps(still, [truth[WIDE]] * 12)
    assert torch.equal(blend_with_draft(stays, still, range(12), draft), stays)


def test_an_error_of_the_draft_on_the_annotated_frame_has_no_effect(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    """One wrong draft looks like motion on all other frames."""
    masks = [truth[WIDE]] * 12
    masks[WIDE] = truth[4]
    draft = drafted(still, head_of(small_encoder), masks)
    stays = maps(still, [truth[WIDE]] * 12)
    share = draft_share(stays, draft(range(12)), still, range(12), draft)
    assert share.max() < 0.1


def test_classes_that_are_not_outlined_are_not_blended_in(
    still: PreparedCine, truth: NDArray[np.uint8], small_encoder: LoadedEncoder
) -> None:
    only = np.where(truth[WIDE] == 1, 1, 0).astype(np.uint8)
    still.labels = {WIDE: frame_label(only, still.box, CLASSES)}
    draft = drafted(still, head_of(small_encoder), truth)
    found = blend_with_draft(maps(still, [only] * 12), still, range(12), draft)
    torch.testing.assert_close(found.sum(1), torch.ones(12, 112, 112))
    assert found[:, 2].max() == 0
    assert 1 in found[NARROW].argmax(0)


def test_a_draft_is_computed_once_per_frame_without_the_labels(
    still: PreparedCine, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[int]] = []

    def record(head: Head, cine: PreparedCine, frames: Sequence[int]) -> Tensor:
        assert not cine.labels
        calls.append(list(frames))
        return predict(head, cine, frames)

    monkeypatch.setattr(drafts, "predict", record)
    draft = Draft(head_of(small_encoder), still)
    assert not draft.has([3])
    first = draft([3, 2])
    torch.testing.assert_close(draft([2, 3, 4])[:2], first.flip(0))
    assert calls == [[2, 3], [4]]
    draft([0, 1])
    assert draft.has([3])  # computed along with the annotated frame


def test_segment_uses_the_draft_in_the_other_phase(
    truth: NDArray[np.uint8], small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`segment` with a draft that follows the beat, on a cine that does not."""
    frames = np.repeat(beating(12)[0][:1], 12, axis=0)
    starter = Starter(head_of(small_encoder), ShapeModel(np.zeros(N_DESCRIPTORS), np.eye(N_DESCRIPTORS), 1.0))
    monkeypatch.setattr(Starter, "applies", lambda self, cine: True)
    monkeypatch.setattr(pipeline, "Draft", lambda head, cine: drafted(cine, head, truth))

    def narrow(start: Starter | None) -> float:
        config = replace(FitConfig(), steps=2)
        found = segment(
            frames,
            {WIDE: truth[WIDE]},
            CLASSES,
            fps=30,
            encoder=small_encoder,
            start=start,
            config=config,
        )
        assert dice(found.masks[WIDE], truth[WIDE], 1) > 0.95
        return dice(found.masks[NARROW], truth[NARROW], 1)

    assert narrow(None) < 0.9
    assert narrow(starter) > 0.97


def test_structures_that_were_not_outlined_are_filled_from_the_draft() -> None:
    # Columns: inside the cavity, between its fitted and its drafted border, in the wall, outside.
    fitted = torch.tensor([[0.05, 0.95, 0.95, 0.97], [0.95, 0.05, 0.05, 0.03], [0.0, 0.0, 0.0, 0.0]])
    draft = torch.tensor([[0.01, 0.01, 0.04, 0.9], [0.98, 0.79, 0.06, 0.05], [0.01, 0.2, 0.9, 0.05]])
    found = drafts.fill_from_draft(
        fitted[None, :, None], draft[None, :, None], torch.tensor([True, True, False])
    )[0, :, 0]
    assert found.sum(0) == pytest.approx(1)
    assert found.argmax(0).tolist() == [1, 2, 2, 0]
    assert torch.equal(found[1], fitted[1])
