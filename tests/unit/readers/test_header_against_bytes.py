"""Comparison of headers with the available bytes before memory is allocated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import dataset, grey_cine, jpeg_cine, luma, rgb_frames, write, ybr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
RGB = rgb_frames()
GREY = np.rint(luma(RGB)).astype(np.uint8)
N, ROWS, COLS = GREY.shape
# Speckle in place of flat areas: rows of a wrong layout must not fit each other by accident.
_SPECKLE = np.random.default_rng(0).normal(0, 6, (ROWS, COLS))
TISSUE = np.clip(GREY + np.where(GREY > 0, _SPECKLE, 0), 0, 255).astype(np.uint8)
TISSUE_RGB = np.repeat(TISSUE[..., None], 3, -1)


def frames_of(cine: Cine) -> np.ndarray:
    return np.stack([cine.frame(i) for i in range(cine.n_frames)])


def peak_memory() -> int:
    """Return the peak resident memory of this process in kB; 0 if unknown."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def refused(path: Path) -> bool:
    """Return True if the file is rejected; the message must contain its name."""
    try:
        open_cine(path)
    except CineError as error:
        return path.name in str(error)
    return False


def packed_422(full: np.ndarray) -> bytes:
    packed = np.empty((N, ROWS, COLS // 2, 4), np.uint8)
    packed[..., 0], packed[..., 1] = full[:, :, ::2, 0], full[:, :, 1::2, 0]
    packed[..., 2:] = full[:, :, ::2, 1:]
    return packed.tobytes()


def with_count(path: Path, count: int | None) -> Path:
    ds = dcmread(path)
    if count is None:
        del ds.NumberOfFrames
    else:
        ds.NumberOfFrames = count
    ds.save_as(path)
    return path


@pytest.mark.parametrize("count", [None, 1, 2, 5])
@pytest.mark.parametrize("kind", ["native", "jpeg", "jpeg without table", "rle", "jpeg-ls", "jpeg 2000"])
def test_more_frames_than_stated_are_all_opened(tmp_path: Path, kind: str, count: int | None) -> None:
    path = tmp_path / "a.dcm"
    if kind.startswith("jpeg") and "2000" not in kind and "ls" not in kind:
        jpeg_cine(path)
        if kind == "jpeg without table":
            ds = dcmread(path)
            ds.PixelData = encapsulate(list(generate_frames(ds.PixelData, number_of_frames=N)), has_bot=False)
            ds.save_as(path)
    else:
        grey_cine(path)
        syntaxes = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg 2000": JPEG2000Lossless}
        if kind in syntaxes:
            ds = dcmread(path)
            ds.compress(syntaxes[kind])
            ds.save_as(path)
    whole = frames_of(open_cine(path))
    cine = open_cine(with_count(path, count))
    assert cine.n_frames == N
    assert np.array_equal(frames_of(cine), whole)
    assert len(cine.timing.times_ms) == N
    assert any(str(N) in w and "frame" in w for w in cine.warnings)


def test_a_single_frame_in_many_fragments(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm", 1)
    ds = dcmread(path)
    frames = list(generate_frames(ds.PixelData, number_of_frames=1))
    for has_bot in (True, False):
        ds.PixelData = encapsulate(frames, fragments_per_frame=4, has_bot=has_bot)
        ds.save_as(path)
        cine = open_cine(path)
        assert cine.n_frames == 1
        assert cine.warnings == open_cine(jpeg_cine(tmp_path / "b.dcm", 1)).warnings


@pytest.mark.parametrize("count", [9, 1_207_959_648])
@pytest.mark.parametrize("maker", [grey_cine, jpeg_cine])
def test_a_huge_frame_count_allocates_nothing(tmp_path: Path, maker: Any, count: int) -> None:
    before = peak_memory()
    cine = open_cine(maker(tmp_path / "a.dcm", NumberOfFrames=count))
    assert cine.n_frames == N
    assert len(cine.timing.times_ms) == N
    assert any(f"fewer frames than stated: {N} of {count}" in w for w in cine.warnings)
    assert peak_memory() - before < 200_000


def test_a_missing_sequence_delimiter_is_not_reported(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm")
    ds = dcmread(path)
    frames = list(generate_frames(ds.PixelData, number_of_frames=N))
    ds.PixelData = encapsulate(frames, fragments_per_frame=2)
    ds.save_as(path)
    data = path.read_bytes()
    end = data.rindex(b"\xfe\xff\xdd\xe0")
    path.write_bytes(data[:end])
    cine = open_cine(path)
    assert cine.n_frames == N
    assert not any("truncated" in w for w in cine.warnings)


@pytest.mark.parametrize(
    ("stated", "samples", "bits"),
    [
        ("YBR_FULL_422", 3, 8),
        ("YBR_PARTIAL_420", 3, 8),
        ("RGB", 3, 8),
        ("YBR_FULL", 3, 8),
        ("MONOCHROME2", 1, 8),
        ("MONOCHROME2", 1, 16),
    ],
)
@pytest.mark.parametrize("real", ["rgb", "ybr", "422", "mono"])
def test_a_layout_that_differs_from_the_header(
    tmp_path: Path, stated: str, samples: int, bits: int, real: str
) -> None:
    """The frames are correct, or there is an error or a warning."""
    full = np.stack([ybr(frame) for frame in TISSUE_RGB])
    data = {
        "rgb": TISSUE_RGB.tobytes(),
        "ybr": full.tobytes(),
        "422": packed_422(full),
        "mono": TISSUE.tobytes(),
    }
    lengths = {"YBR_FULL_422": 2, "YBR_PARTIAL_420": 1.5, "MONOCHROME2": bits // 8}
    if stated == "MONOCHROME2" and bits == 16 and real == "422":
        pytest.skip("two bytes a pixel in both")
    tags = {"SamplesPerPixel": samples, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    path = write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, stated, **tags), data[real])
    if refused(path):
        return
    cine = open_cine(path)
    right = cine.n_frames == N and np.abs(frames_of(cine).astype(float) - TISSUE).max() <= 2
    agrees = len(data[real]) == N * ROWS * COLS * lengths.get(stated, 3)
    assert right or any("check that the image" in w or "frames" in w for w in cine.warnings)
    if real in {"rgb", "ybr"} and stated in {"YBR_FULL_422", "RGB", "YBR_FULL"}:
        assert right
    if not agrees:
        assert any("header states" in w or "frames" in w for w in cine.warnings)


def test_wrong_planar_configuration(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(TISSUE_RGB, -1, 1)).tobytes()
    cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "RGB"), planes))
    assert np.array_equal(frames_of(cine), TISSUE)
    assert any("PlanarConfiguration" in w for w in cine.warnings)


def test_a_correct_header_is_used(tmp_path: Path) -> None:
    for photometric, data in (("RGB", RGB), ("YBR_FULL", np.stack([ybr(f) for f in RGB]))):
        cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, photometric), data.tobytes()))
        assert not any("header states" in w for w in cine.warnings)


def test_a_fractional_number_of_frames_is_reported(tmp_path: Path) -> None:
    data = GREY.tobytes() + bytes(1000)
    cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "MONOCHROME2"), data))
    assert cine.n_frames == N
    assert any("not a whole number of frames" in w for w in cine.warnings)


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 65535},
        {"Columns": 65535},
        {"Rows": 1, "Columns": 1},
        {"BitsAllocated": 32},
    ],
)
@pytest.mark.parametrize("maker", [grey_cine, jpeg_cine])
def test_impossible_sizes(tmp_path: Path, maker: Any, tags: dict[str, int]) -> None:
    before = peak_memory()
    path = maker(tmp_path / "a.dcm", **tags)
    assert refused(path) or any("header states" in w or "frames" in w for w in open_cine(path).warnings)
    assert peak_memory() - before < 300_000


def test_a_compressed_frame_of_another_size_is_rejected(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm", Rows=64, Columns=64)
    with pytest.raises(CineError, match=r"states a size of 64x64 pixels, but its frames have 128x96"):
        open_cine(path)


def test_uncompressed_images_stated_as_compressed_are_rejected(tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(CineError, match="is marked as compressed"):
        open_cine(path)


def test_bits_of_compressed_frames_take_precedence(tmp_path: Path) -> None:
    """GDCM crashed if BitsStored did not match the data."""
    ds = dcmread(grey_cine(tmp_path / "a.dcm"))
    ds.compress(JPEG2000Lossless)
    ds.BitsStored, ds.HighBit = 7, 6
    ds.save_as(tmp_path / "b.dcm")
    cine = open_cine(tmp_path / "b.dcm")
    assert np.array_equal(frames_of(cine), GREY)
    assert any("compressed frames have 1 x 8" in w for w in cine.warnings)


@pytest.mark.parametrize("stored", [8, 10])
def test_more_bits_than_stated(tmp_path: Path, stored: int) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=stored, HighBit=stored - 1)
    cine = open_cine(write(tmp_path / "a.dcm", ds, (TISSUE.astype("<u2") << 4).tobytes()))
    assert np.corrcoef(cine.frame(2).ravel(), TISSUE[2].ravel())[0, 1] > 0.999
    assert any("12 are in use" in w for w in cine.warnings)


def test_the_brightest_frame_decides_what_is_white(tmp_path: Path) -> None:
    """Also if it is not among the frames that are sampled first."""
    frames = np.tile(GREY[:1].astype("<u2"), (40, 1, 1))
    frames[13] *= 8
    ds = dataset(40, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    cine = open_cine(write(tmp_path / "a.dcm", ds, frames.tobytes()))
    assert cine.frame(13).max() == 255
    assert len(np.unique(cine.frame(13))) == len(np.unique(GREY[0]))


def test_a_useless_window_is_ignored(tmp_path: Path) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    ds.WindowCenter, ds.WindowWidth = 32768, 65536
    cine = open_cine(write(tmp_path / "a.dcm", ds, (GREY.astype("<u2") * 4).tobytes()))
    assert cine.frame(0).max() == 255
    assert any("brightness window" in w for w in cine.warnings)


def test_a_deflated_file_that_inflates_too_much_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    ds = dataset(N, ROWS, COLS, "MONOCHROME2")
    path = write(tmp_path / "a.dcm", ds, GREY.tobytes(), DeflatedExplicitVRLittleEndian)
    assert open_cine(path).n_frames == N
    monkeypatch.setattr("app.readers.header.MAX_UNPACKED", 1000)
    with pytest.raises(CineError, match="inflates to more than"):
        open_cine(path)


def test_an_oversized_segmented_palette_is_rejected(tmp_path: Path) -> None:
    ds = dataset(1, 4, 256, "PALETTE COLOR")
    endless = np.tile(np.array([1, 65535, 65280], "<u2"), 5000).tobytes()
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", endless)
    before = peak_memory()
    with pytest.raises(CineError, match="cannot be decoded"):
        open_cine(write(tmp_path / "a.dcm", ds, bytes(1024)))
    assert peak_memory() - before < 200_000


def test_jpeg_frames_are_separated_by_markers_if_the_table_is_wrong(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm", NumberOfFrames=N)
    assert dcmread(path).file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    ds = dcmread(path)
    frames = list(generate_frames(ds.PixelData, number_of_frames=N))
    ds.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=True)
    ds.NumberOfFrames = 2
    ds.save_as(path)
    assert open_cine(path).n_frames == N
