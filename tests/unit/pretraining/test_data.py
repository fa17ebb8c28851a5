"""Clips from packed sets, and packing of files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from app.domain.errors import CineError
from app.pretraining.packing import Skipped, clips_from, main, pack, read_cines
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.data import CineClipSource, LoadedCine, load_clips
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.pack import RawCine, pack_cines
from vjepa_core.pretraining.shards import PackedSet
from vjepa_core.pretraining.source import ClipSource, MixedSource


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counted(frames: int, side: int = 64) -> np.ndarray:
    """Return a cine in which the grey level is the frame number."""
    return np.stack([np.full((side, side), 4 * t + 4, np.uint8) for t in range(frames)])


def moving(frames: int, side: int = 64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    field = cv2.resize(rng.integers(30, 220, (10, 10)).astype(np.float32), (side + frames, side + frames))
    return np.stack([field[t : t + side, t : t + side] for t in range(frames)]).astype(np.uint8)


def still(name: str, radius: int) -> RawCine:
    y, x = np.mgrid[:64, :64]
    far = np.hypot(y - 32, x - 32)
    mask = np.select([far < radius, far < radius + 6], [1, 2], 0).astype(np.uint8)
    image = np.choose(mask, [90, 20, 180]).astype(np.uint8)
    return RawCine(name, image[None], 0.0, "still", mask[None])


@pytest.fixture(name="packed")
def _packed(tmp_path: Path) -> Path:
    cines = [
        RawCine("a", moving(30), 30.0, "echo"),
        RawCine("b", moving(20, 48, 1), 25.0, "lung"),
        still("p1_4CH_ED", 18),
        still("p1_4CH_ES", 12),
    ]
    pack_cines(cines, tmp_path / "set")
    return tmp_path / "set"


def test_all_groups_of_a_set_form_one_source(packed: Path) -> None:
    source = load_clips(packed, size=32)
    assert isinstance(source, ClipSource)
    assert isinstance(source, MixedSource)
    clips = source.batch(12, seeded())
    assert clips.shape == (12, 16, 32, 32)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips, source.batch(12, seeded()))
    assert not torch.equal(clips, source.batch(12, seeded(1)))


def test_several_sets_and_a_single_group_can_be_loaded(packed: Path) -> None:
    source = load_clips([packed, packed], size=32, shares={"lung": 1.0}, augment=Augment.none())
    assert isinstance(source, CineClipSource)
    assert [c.group for c in source.cines] == ["lung", "lung"]
    assert source.frames.shape == (
        2 * 10,
        37,
        37,
    )  # a seventh larger than the clips; reduced to 12.5 frames per second
    assert source.batch(3, seeded()).shape == (3, 16, 32, 32)


def test_pseudo_cines_alone_are_a_source(packed: Path) -> None:
    clips = load_clips(packed, size=32, clip=8, shares={"pseudo": 1.0}).batch(2, seeded())
    assert clips.shape == (2, 8, 32, 32)


def test_sets_that_cannot_be_loaded_give_an_error(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="no cine to train on"):
        load_clips(packed, shares={"phantom": 1.0})
    with pytest.raises(PretrainingError, match="is not a packed set"):
        load_clips(tmp_path / "nowhere")
    with pytest.raises(PretrainingError, match="at least one"):
        load_clips([])


def test_a_clip_shows_one_cine_in_temporal_order() -> None:
    frames = torch.from_numpy(np.concatenate([counted(20), 128 + counted(20)]))
    held = CineClipSource(
        frames,
        [LoadedCine("echo", 30.0, 20)] * 2,
        rates=(30, 30),
        size=64,
        scale=(1, 1),
        aspect=(1, 1),
        degrees=0,
    )
    clips = held.batch(20, seeded())
    levels = clips[:, :, 32, 32].int()
    assert (levels.diff(dim=1) == 4).all()
    assert {bool(first > 128) for first in levels[:, 0]} == {True, False}
    assert (clips == clips[..., :1, :1]).all()


@pytest.mark.parametrize("rates", [(0.0, 30.0), (30.0, 8.0)])
def test_invalid_rates_are_rejected(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        CineClipSource(torch.zeros(3, 8, 8, dtype=torch.uint8), [LoadedCine("echo", 30.0, 3)], rates=rates)


def test_mismatched_frames_are_rejected() -> None:
    with pytest.raises(ValueError, match="cines"):
        CineClipSource(torch.zeros(3, 8, 8, dtype=torch.uint8), [LoadedCine("echo", 30.0, 4)])


def folder_of(tmp_path: Path, name: str, frames: np.ndarray) -> Path:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"frame_{t:03d}.png"), frame)
    return folder


def camus(path: Path, val: list[str]) -> None:
    stills = [still(f"patient0001_4CH_{m}", r) for m, r in (("ED", 18), ("ES", 12))]
    np.savez(
        path,
        train_img=np.concatenate([s.frames for s in stills]),
        train_mask=np.concatenate([s.masks for s in stills if s.masks is not None]),
        train_name=np.array([s.name for s in stills]),
        val_img=np.full((1, 64, 64), 77, np.uint8),
        val_mask=np.zeros((1, 64, 64), np.uint8),
        val_name=np.array(val),
    )


def test_copies_short_and_dark_cines_are_skipped(tmp_path: Path) -> None:
    good = folder_of(tmp_path, "Mueller_Anna", moving(12))
    copy = folder_of(tmp_path, "copy", moving(12))
    short = folder_of(tmp_path, "short", moving(3))
    dark = folder_of(tmp_path, "dark", moving(12) // 16)
    skipped = Skipped()
    (cine,) = read_cines([good, copy, short, dark], skipped)
    assert cine.group == "echo"
    assert cine.fps == 30.0
    assert "Mueller" not in cine.name
    assert set(skipped.by_reason) == {"a copy", "fewer than 8 frames", "almost black"}
    (lung,) = read_cines([folder_of(tmp_path / "x", "lung_7", moving(12))])
    assert lung.group == "lung"


def test_validation_patients_are_excluded(tmp_path: Path) -> None:
    camus(tmp_path / "camus.npz", ["patient0002_4CH_ED"])
    import nibabel

    (tmp_path / "native").mkdir()
    for name in ("patient0002_4CH_seq.nii.gz", "patient0003_4CH_seq.nii.gz", "patient0003_4CH_seq_gt.nii.gz"):
        volume = moving(10, seed=len(name) + int(name[10])).transpose(2, 1, 0)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "native" / name)
    skipped = Skipped()
    names = [cine.name for cine in read_cines([tmp_path], skipped)]
    assert names[:2] == ["patient0001_4CH_ED", "patient0001_4CH_ES"]
    assert len(names) == 3
    assert skipped.by_reason == {
        "kept for validation": ["patient0002_4CH_seq.nii.gz"],
        "labels, not images": ["patient0003_4CH_seq_gt.nii.gz"],
    }
    # The result is the same for the subfolder alone, with the arrays in the folder above.
    assert len(list(read_cines([tmp_path / "native"]))) == 1
    assert len(list(read_cines([tmp_path / "camus.npz"]))) == 2


def test_without_outlines_still_images_get_the_fraction_of_pseudo_cines(tmp_path: Path) -> None:
    camus(tmp_path / "camus.npz", [])
    command = [str(tmp_path / "camus.npz"), "--no-outlines", "--out", str(tmp_path / "set")]
    assert main(command) == 0
    assert all(masks is None for _, _, masks in PackedSet(tmp_path / "set").read({"still"}))
    source = load_clips(tmp_path / "set", size=32, shares={"pseudo": 0.9, "still": 0.1})
    assert isinstance(source, CineClipSource)
    with pytest.raises(PretrainingError, match="no cine to train on"):
        load_clips(tmp_path / "set", size=32, shares={"pseudo": 1.0})


def test_phantom_cines_are_packed_without_labels(tmp_path: Path) -> None:
    camus(tmp_path / "camus.npz", [])
    pack([tmp_path / "camus.npz"], tmp_path / "packed", outlines=False, phantoms=2)
    found = PackedSet(tmp_path / "packed")
    phantoms = [cine for cine in found.cines if cine.group == "phantom"]
    assert [cine.frames for cine in phantoms] == [32, 32]
    assert all(masks is None for _, _, masks in found.read())
    clips = load_clips(tmp_path / "packed", size=32, clip=4, shares={"phantom": 1.0}).batch(2, seeded())
    assert clips.float().std() > 5


def test_a_missing_path_gives_an_error(tmp_path: Path) -> None:
    with pytest.raises(CineError, match="does not exist"):
        list(read_cines([tmp_path / "nowhere"]))


def test_files_and_packed_sets_can_be_combined(tmp_path: Path, packed: Path) -> None:
    folder = folder_of(tmp_path, "cine", moving(12, seed=5))
    options = {"size": 32, "shares": {"echo": 1.0}, "augment": Augment.none()}
    source = clips_from([packed, folder], tmp_path / "cache", **options)
    assert isinstance(source, CineClipSource)
    assert len(source.cines) == 2
    for file in folder.iterdir():
        file.unlink()
    again = clips_from([packed, folder], tmp_path / "cache", **options)  # from the cache
    assert torch.equal(again.batch(2, seeded()), source.batch(2, seeded()))


def test_the_pack_command_writes_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, "cine", moving(12))
    assert main([str(folder), "--out", str(tmp_path / "set")]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == {"echo": 12}
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "other")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.data
def test_text_is_removed_from_real_cines(data_dir: Path, tmp_path: Path) -> None:
    file = data_dir / "dicom" / "mglev1n-echocv__Image-41.dcm"
    pack([file], tmp_path / "set")
    ((cine, frames, _),) = PackedSet(tmp_path / "set").read()
    assert cine.fps == pytest.approx(30.2, abs=0.1)
    # The upper corners showed a blood pressure and a grey bar; outside the sector everything is black.
    third, quarter = cine.width // 3, cine.height // 4
    assert frames[:, :quarter, : third // 2].max() < 40
    assert frames[:, :quarter, -third // 2 :].max() < 40
