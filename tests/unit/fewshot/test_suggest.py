"""Which frame and which cine to outline next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.suggest import (
    MIN_GAIN,
    first_frames,
    frame_embeddings,
    gains,
    next_cine,
    next_frame,
    similarity,
)

BEAT = 12


def _beats(n: int, *, beat: int = BEAT) -> np.ndarray:
    """Similarity of frames whose embeddings move once around a circle per beat."""
    phase = 2 * np.pi * np.arange(n) / beat
    return similarity(np.stack([np.cos(phase), np.sin(phase)], 1).astype(np.float32))


def test_similarity_is_symmetric_with_a_diagonal_of_one() -> None:
    similar = similarity(np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32))
    assert np.allclose(similar, similar.T)
    assert np.all(np.diag(similar) == 1)
    assert similar.min() >= 0
    assert similar.max() <= 1


def test_the_same_phase_of_the_next_beat_is_fully_similar() -> None:
    similar = _beats(3 * BEAT)
    assert np.allclose(similar[0, [BEAT, 2 * BEAT]], 1, atol=1e-3)
    assert similar[0, BEAT // 2] < 0.2


@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_frames_need_one_label(n: int) -> None:
    similar = similarity(np.full((n, 3), 4.0, np.float32))
    assert np.all(similar == 1)
    assert next_frame(similar, np.ones(n)).frame == 0
    assert next_frame(similar, np.ones(n), [n - 1]).frame is None


def test_without_labels_the_most_similar_frame_is_suggested_first() -> None:
    # Most frames are alike; two differ.
    seen = np.zeros((10, 2), np.float32)
    seen[:, 0] = np.linspace(0, 0.5, 10)
    seen[[3, 7]] = [[5, 0], [0, 5]]
    assert next_frame(similarity(seen), np.ones(10)).frame not in (3, 7)


def test_the_next_frame_is_of_another_phase_than_the_annotated_one() -> None:
    similar, doubt = _beats(3 * BEAT), np.full(3 * BEAT, 0.1)
    doubt[BEAT] = 0.3  # the most doubtful, but of the annotated phase
    frame = next_frame(similar, doubt, [0]).frame
    assert frame is not None
    away = frame % BEAT
    assert 3 <= away <= BEAT - 3


def test_doubt_decides_between_phases() -> None:
    similar, doubt = _beats(2 * BEAT), np.full(2 * BEAT, 0.02)
    doubt[[4, 4 + BEAT]] = 0.4
    frame = next_frame(similar, doubt, [0]).frame
    assert frame is not None
    assert abs(frame % BEAT - 4) <= 1


def test_gains_are_changes_of_the_mean_dice() -> None:
    gain = gains(np.eye(5, dtype=np.float32), [0.5, 0.1, 0.0, 0.2, 1.0], [4])
    assert gain == pytest.approx([0.1, 0.02, 0.0, 0.04, 0.0])


def test_non_finite_doubt_counts_as_one() -> None:
    assert gains(np.eye(2, dtype=np.float32), [np.nan, 0.5]) == pytest.approx([0.5, 0.25])


def test_nothing_is_suggested_if_no_label_would_help() -> None:
    similar = _beats(2 * BEAT)
    suggestion = next_frame(similar, np.full(2 * BEAT, MIN_GAIN / 2), [0])
    assert suggestion.frame is None
    assert suggestion.gain < MIN_GAIN
    assert next_frame(similar, np.ones(2 * BEAT), range(2 * BEAT)).frame is None
    assert next_frame(np.zeros((0, 0), np.float32), np.zeros(0)).frame is None


def test_first_frames_are_spread_over_the_beat() -> None:
    chosen = first_frames(_beats(4 * BEAT), 4)
    phases = sorted(frame % BEAT for frame in chosen)
    assert len(set(phases)) == 4
    assert min(np.diff(phases)) >= 2
    assert first_frames(np.ones((6, 6), np.float32), 3) == [0]
    assert first_frames(_beats(4), 0) == []


@pytest.mark.parametrize(
    ("doubt", "annotated"), [(np.ones(3), []), (np.ones(4), [4]), (np.ones(4), [-1]), (np.ones((4, 1)), [])]
)
def test_sizes_that_do_not_agree_are_rejected(doubt: np.ndarray, annotated: list[int]) -> None:
    with pytest.raises(ValueError, match="agree"):
        gains(np.eye(4, dtype=np.float32), doubt, annotated)


def test_the_next_cine_is_the_one_of_the_largest_gain() -> None:
    assert next_cine({7: 0.01, 3: 0.05, 5: 0.05}) == 3
    assert next_cine({7: MIN_GAIN / 2}) is None
    assert next_cine({}) is None


def test_frame_embeddings_are_centred(prepared: PreparedCine) -> None:
    assert prepared.features is not None
    seen = frame_embeddings(prepared.features, prepared.n_frames)
    assert seen.shape == (prepared.n_frames, prepared.features.values.shape[-1])
    assert np.allclose(seen.mean(0), 0, atol=1e-4)


def test_frame_embeddings_of_a_single_frame() -> None:
    features = CineFeatures(torch.randn(2, 1, 3, 3, 8).half(), torch.tensor([0.0], dtype=torch.float64))
    assert frame_embeddings(features, 1).shape == (1, 8)
    assert next_frame(similarity(frame_embeddings(features, 1)), [1.0]).frame == 0
