"""What a header says is compared with the bytes that are there, before anything is sized by it."""

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
from tests.unit.readers.dicom_oracle import dataset, grey_cine, jpeg_cine, luma, picture, write, ybr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
RGB = picture()
GREY = np.rint(luma(RGB)).astype(np.uint8)
N, ROWS, COLS = GREY.shape
# Speckle in place of flat areas: rows of a wrong layout must not fit each other by accident.
_SPECKLE = np.random.default_rng(0).normal(0, 6, (ROWS, COLS))
TISSUE = np.clip(GREY + np.where(GREY > 0, _SPECKLE, 0), 0, 255).astype(np.uint8)
TISSUE_RGB = np.repeat(TISSUE[..., None], 3, -1)


def frames_of(cine: Cine) -> np.ndarray:
    return np.stack([cine.frame(i) for i in range(cine.n_frames)])


def peak_memory() -> int:
    """Largest resident memory of this process so far, kB; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def refused(path: Path) -> bool:
    """True where the file is refused; the message must name it."""
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


def test_a_single_frame_in_many_fragments_stays_one(tmp_path: Path) -> None:
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
def test_fewer_frames_than_stated_size_nothing(tmp_path: Path, maker: Any, count: int) -> None:
    before = peak_memory()
    cine = open_cine(maker(tmp_path / "a.dcm", NumberOfFrames=count))
    assert cine.n_frames == N
    assert len(cine.timing.times_ms) == N
    assert any(f"fewer frames than it says: {N} of {count}" in w for w in cine.warnings)
    assert peak_memory() - before < 200_000


def test_a_file_without_the_end_mark_of_its_frames_is_not_called_cut_short(tmp_path: Path) -> None:
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
    assert not any("cut short" in w for w in cine.warnings)


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
def test_another_layout_than_stated(tmp_path: Path, stated: str, samples: int, bits: int, real: str) -> None:
    """The right picture, or an error, or a warning; equal lengths alone cannot be told apart."""
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
    assert right or any("check that the picture" in w or "frames" in w for w in cine.warnings)
    if real in {"rgb", "ybr"} and stated in {"YBR_FULL_422", "RGB", "YBR_FULL"}:
        assert right
    if not agrees:
        assert any("header says" in w or "frames" in w for w in cine.warnings)


def test_planes_where_pixels_are_stated(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(TISSUE_RGB, -1, 1)).tobytes()
    cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "RGB"), planes))
    assert np.array_equal(frames_of(cine), TISSUE)
    assert any("PlanarConfiguration" in w for w in cine.warnings)


def test_a_right_header_is_never_doubted(tmp_path: Path) -> None:
    for photometric, data in (("RGB", RGB), ("YBR_FULL", np.stack([ybr(f) for f in RGB]))):
        cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, photometric), data.tobytes()))
        assert not any("header says" in w for w in cine.warnings)


def test_bytes_that_are_no_whole_number_of_frames_are_told(tmp_path: Path) -> None:
    data = GREY.tobytes() + bytes(1000)
    cine = open_cine(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "MONOCHROME2"), data))
    assert cine.n_frames == N
    assert any("no whole number of frames" in w for w in cine.warnings)


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
def test_sizes_that_cannot_be(tmp_path: Path, maker: Any, tags: dict[str, int]) -> None:
    before = peak_memory()
    path = maker(tmp_path / "a.dcm", **tags)
    assert refused(path) or any("header says" in w or "frames" in w for w in open_cine(path).warnings)
    assert peak_memory() - before < 300_000


def test_a_compressed_picture_of_another_size_names_both(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm", Rows=64, Columns=64)
    with pytest.raises(CineError, match=r"says that its pictures are 64x64 pixels, but they have 128x96"):
        open_cine(path)


def test_uncompressed_pictures_that_are_said_to_be_compressed(tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(CineError, match="uncompressed pictures but says they are compressed"):
        open_cine(path)


def test_compressed_pictures_say_their_own_bits(tmp_path: Path) -> None:
    """GDCM ended the process where BitsStored contradicted the data."""
    ds = dcmread(grey_cine(tmp_path / "a.dcm"))
    ds.compress(JPEG2000Lossless)
    ds.BitsStored, ds.HighBit = 7, 6
    ds.save_as(tmp_path / "b.dcm")
    cine = open_cine(tmp_path / "b.dcm")
    assert np.array_equal(frames_of(cine), GREY)
    assert any("compressed pictures have 1 x 8" in w for w in cine.warnings)


@pytest.mark.parametrize("stored", [8, 10])
def test_more_bits_than_stated_are_used(tmp_path: Path, stored: int) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=stored, HighBit=stored - 1)
    cine = open_cine(write(tmp_path / "a.dcm", ds, (TISSUE.astype("<u2") << 4).tobytes()))
    assert np.corrcoef(cine.frame(2).ravel(), TISSUE[2].ravel())[0, 1] > 0.999
    assert any("12 are used" in w for w in cine.warnings)


def test_the_brightest_frame_decides_what_is_white(tmp_path: Path) -> None:
    """Also where it is none of the few frames that are looked at first."""
    frames = np.tile(GREY[:1].astype("<u2"), (40, 1, 1))
    frames[13] *= 8
    ds = dataset(40, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    cine = open_cine(write(tmp_path / "a.dcm", ds, frames.tobytes()))
    assert cine.frame(13).max() == 255
    assert len(np.unique(cine.frame(13))) == len(np.unique(GREY[0]))


def test_a_window_that_shows_nothing_is_not_used(tmp_path: Path) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    ds.WindowCenter, ds.WindowWidth = 32768, 65536
    cine = open_cine(write(tmp_path / "a.dcm", ds, (GREY.astype("<u2") * 4).tobytes()))
    assert cine.frame(0).max() == 255
    assert any("brightness window" in w for w in cine.warnings)


def test_a_deflated_file_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    ds = dataset(N, ROWS, COLS, "MONOCHROME2")
    path = write(tmp_path / "a.dcm", ds, GREY.tobytes(), DeflatedExplicitVRLittleEndian)
    assert open_cine(path).n_frames == N
    monkeypatch.setattr("app.readers.header.MAX_UNPACKED", 1000)
    with pytest.raises(CineError, match="unpacks to more than"):
        open_cine(path)


def test_a_segmented_palette_without_end_is_refused(tmp_path: Path) -> None:
    ds = dataset(1, 4, 256, "PALETTE COLOR")
    endless = np.tile(np.array([1, 65535, 65280], "<u2"), 5000).tobytes()
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", endless)
    before = peak_memory()
    with pytest.raises(CineError, match="cannot be decoded"):
        open_cine(write(tmp_path / "a.dcm", ds, bytes(1024)))
    assert peak_memory() - before < 200_000


def test_jpeg_frames_are_told_apart_by_their_bytes_not_by_a_wrong_table(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm", NumberOfFrames=N)
    assert dcmread(path).file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    ds = dcmread(path)
    frames = list(generate_frames(ds.PixelData, number_of_frames=N))
    ds.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=True)
    ds.NumberOfFrames = 2
    ds.save_as(path)
    assert open_cine(path).n_frames == N
