"""Features of a whole cine: its clips, their blending, and the order of extraction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.features import CineFeatures, extract, plan_clips, temporal_stride

DEPTHS = (1, 3)


@pytest.fixture(scope="module")
def encoder() -> VisionTransformer3D:
    torch.manual_seed(0)
    return VisionTransformer3D(Architecture(24, 4, 2)).eval()


def cine(frames: int, side: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (frames, side, side), dtype=np.uint8)


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 31, 32, 75, 300])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_a_plan_covers_every_frame(frames: int, stride: int) -> None:
    plan = plan_clips(frames, stride)
    assert plan.starts[0] == 0
    assert plan.starts[-1] + plan.clip == len(plan.frames)
    assert all(start % 2 == 0 for start in plan.starts)
    assert all(0 < b - a <= plan.clip // 2 for a, b in zip(plan.starts, plan.starts[1:], strict=False))
    np.testing.assert_allclose(plan.weights.sum(0), 1)
    assert plan.tubelets == -(-len(range(0, frames, stride)) // 2)
    assert (np.diff(plan.times) > 0).all()
    assert plan.times[0] >= 0
    assert plan.times[-1] <= frames - 1
    assert set(range(0, frames, stride)) == set(plan.frames)


def test_frames_at_the_centre_of_a_clip_have_the_largest_weight() -> None:
    weights = plan_clips(32).weights
    middle_clip = weights[1]
    assert middle_clip.argmax() in (7, 8)
    assert middle_clip[4] < middle_clip[7]


def test_a_short_cine_is_padded_by_reflection() -> None:
    assert plan_clips(4).frames.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert plan_clips(1).frames.tolist() == [0] * 16


@pytest.mark.parametrize(
    ("fps", "stride"), [(0, 1), (10, 1), (30, 1), (50, 2), (60, 2), (90, 3), (200, 7), (29.97, 1)]
)
def test_the_stride_matches_the_frame_rate_of_the_encoder(fps: float, stride: int) -> None:
    assert temporal_stride(fps, 30) == stride


@pytest.mark.parametrize(
    "arguments", [(0, 1, 16, 8), (10, 0, 16, 8), (10, 1, 15, 8), (10, 1, 16, 16), (10, 1, 16, 7)]
)
def test_impossible_plans_are_rejected(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        plan_clips(*arguments)


@pytest.mark.parametrize("frames", [1, 3, 16, 21, 40])
def test_features_have_one_entry_for_each_tubelet(encoder: VisionTransformer3D, frames: int) -> None:
    features = extract(encoder, cine(frames), fps=30, depths=DEPTHS)
    assert features.values.shape == (2, (frames + 1) // 2, 2, 2, 24)
    assert features.values.dtype == torch.float16
    assert torch.isfinite(features.values).all()
    assert features.at(frames / 2).shape == (2, 2, 2, 24)


def test_features_of_a_single_clip_equal_the_output_of_the_encoder(encoder: VisionTransformer3D) -> None:
    from vjepa_core.encoder.normalise import normalise

    frames = cine(16)
    features = extract(encoder, frames, fps=30, depths=DEPTHS)
    with torch.inference_mode():
        expected = encoder.forward_intermediates(normalise(frames)[None], DEPTHS)
    for depth in range(2):
        torch.testing.assert_close(features.values[depth].float(), expected[depth][0], rtol=2e-3, atol=2e-3)
    assert features.times.tolist() == [0.5 + 2 * i for i in range(8)]


def test_a_fast_cine_is_sampled(encoder: VisionTransformer3D) -> None:
    features = extract(encoder, cine(40), fps=60, depths=DEPTHS)
    assert features.times.tolist() == [1.0 + 4 * i for i in range(10)]
    same = extract(encoder, cine(40)[::2], fps=30, depths=DEPTHS)
    torch.testing.assert_close(features.values, same.values)


@pytest.mark.parametrize("frames", [26, 44, 50])
def test_the_order_of_clips_does_not_matter(encoder: VisionTransformer3D, frames: int) -> None:
    a = extract(encoder, cine(frames), fps=30, depths=DEPTHS)
    b = extract(encoder, cine(frames), fps=30, depths=DEPTHS, order_from=frames - 1)
    assert torch.equal(a.values, b.values)


def test_the_requested_frame_is_completed_first(encoder: VisionTransformer3D) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    final = extract(
        encoder,
        cine(80),
        fps=30,
        depths=DEPTHS,
        order_from=79,
        on_partial=lambda features, ready: seen.append((features.values.clone(), ready)),
    )
    first_ready = seen[0][1]
    assert first_ready[-1]
    assert not first_ready[0]
    assert seen[-1][1].all()
    for values, ready in (seen[0], seen[2]):
        torch.testing.assert_close(values[:, ready], final.values[:, ready])


def test_progress_counts_clips_and_extraction_can_be_cancelled(encoder: VisionTransformer3D) -> None:
    progress: list[tuple[int, int]] = []
    extract(encoder, cine(40), fps=30, depths=DEPTHS, on_progress=lambda *step: progress.append(step))
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    progress.clear()
    with pytest.raises(Cancelled):
        extract(
            encoder,
            cine(40),
            fps=30,
            depths=DEPTHS,
            on_progress=lambda *step: progress.append(step),
            should_stop=lambda: len(progress) > 2,
        )
    assert progress[-1] == (2, 4)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 32, 32), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((4, 32, 32))]
)
def test_invalid_frames_are_rejected(encoder: VisionTransformer3D, frames: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="uint8 frames"):
        extract(encoder, frames, fps=30, depths=DEPTHS)


def test_features_between_tubelets_are_interpolated() -> None:
    values = torch.arange(3.0).view(1, 3, 1, 1, 1).half()
    features = CineFeatures(values, torch.tensor([0.5, 2.5, 4.5], dtype=torch.float64))
    wanted = [-3.0, 0.0, 0.5, 1.0, 1.5, 2.5, 4.0, 4.5, 9.0]
    got = features.at_many(wanted)
    assert got.shape == (9, 1, 1, 1, 1)
    np.testing.assert_allclose(got.flatten(), [0, 0, 0, 0.25, 0.5, 1, 1.75, 2, 2], atol=1e-6)
    assert features.at(1.5).item() == pytest.approx(0.5)


def test_a_single_tubelet_is_used_for_every_frame() -> None:
    features = CineFeatures(torch.full((1, 1, 1, 1, 2), 7.0).half(), torch.zeros(1, dtype=torch.float64))
    assert features.at_many([0, 5]).unique().tolist() == [7.0]
