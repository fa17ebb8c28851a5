"""Luma of every pixel format, from synthetic files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import dataset, grey_cine, jpeg_cine, luma, rgb_frames, write, ybr

RGB = rgb_frames()
GREY = np.rint(luma(RGB)).astype(np.uint8)
N, ROWS, COLS = GREY.shape


def check(path: Path, expected: np.ndarray = GREY, tolerance: float = 1.0) -> None:
    cine = open_cine(path)
    got = np.stack([cine.frame(i) for i in range(cine.n_frames)])
    assert got.dtype == np.uint8
    assert np.abs(got.astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_monochrome_in_all_uncompressed_syntaxes(tmp_path: Path, syntax: UID) -> None:
    frames = GREY.view("<u2").byteswap().tobytes() if syntax == ExplicitVRBigEndian else GREY.tobytes()
    check(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "MONOCHROME2"), frames, syntax), tolerance=0)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    check(
        write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "MONOCHROME1"), (255 - GREY).tobytes()), tolerance=0
    )


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_by_pixel_and_by_plane(tmp_path: Path, photometric: str, planar: int) -> None:
    values = RGB if photometric == "RGB" else ybr(RGB)
    if planar:
        values = np.moveaxis(values, -1, 1)
    ds = dataset(N, ROWS, COLS, photometric, PlanarConfiguration=planar)
    check(write(tmp_path / "a.dcm", ds, np.ascontiguousarray(values).tobytes()))


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_subsampled_colour(tmp_path: Path, photometric: str) -> None:
    full = ybr(RGB)
    if photometric == "YBR_PARTIAL_422":
        full[..., 0] = np.rint(16 + full[..., 0] * 219.0 / 255)
    packed = np.empty((N, ROWS, COLS // 2, 4), np.uint8)
    packed[..., 0], packed[..., 1] = full[:, :, ::2, 0], full[:, :, 1::2, 0]
    packed[..., 2:] = full[:, :, ::2, 1:]
    check(write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, photometric), packed.tobytes()))


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(tmp_path: Path, bits: int) -> None:
    levels, index = np.unique(RGB.reshape(-1, 3), axis=0, return_inverse=True)
    ds = dataset(N, ROWS, COLS, "PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = np.zeros(256, f"<u{bits // 8}")
        entries[: len(levels)] = levels[:, channel].astype(entries.dtype) << (bits - 8)
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(ds, f"{name}PaletteColorLookupTableData", entries.tobytes())
    check(write(tmp_path / "a.dcm", ds, index.astype(np.uint8).tobytes()))


def test_segmented_palette(tmp_path: Path) -> None:
    ds = dataset(1, 4, 256, "PALETTE COLOR")
    ramp = np.array(
        [0, 1, 0, 1, 255, 65280], "<u2"
    ).tobytes()  # one value 0, then a line to 65280 in 255 steps
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", ramp)
    values = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    check(write(tmp_path / "a.dcm", ds, values.tobytes()), values[None])


@pytest.mark.parametrize("high_bit", [11, 15])
def test_12_bits_in_16_use_bits_stored_and_high_bit(tmp_path: Path, high_bit: int) -> None:
    stored = GREY.astype(np.uint16) * 16 + 15
    noise = np.uint16(0xF000) if high_bit == 11 else np.uint16(0x000F)  # bits outside of the value
    values = (stored << (high_bit - 11)) | noise
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=12, HighBit=high_bit)
    check(write(tmp_path / "a.dcm", ds, values.astype("<u2").tobytes()), tolerance=1.5)


def test_16_bits_use_the_window(tmp_path: Path) -> None:
    values = GREY.astype("<u2") * 4 + 1000
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    ds.WindowCenter, ds.WindowWidth = 1000 + 4 * 127.5 + 0.5, 4 * 255 + 1
    check(write(tmp_path / "a.dcm", ds, values.tobytes()))


def test_16_bits_that_use_little_of_their_range_are_not_black(tmp_path: Path) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15)
    cine = open_cine(write(tmp_path / "a.dcm", ds, (GREY.astype("<u2") * 2).tobytes()))
    assert cine.frame(0).max() == 255


@pytest.mark.parametrize("allocated", [16, 32])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_8_bits_in_a_wider_type(tmp_path: Path, allocated: int, photometric: str) -> None:
    ds = dataset(N, ROWS, COLS, photometric, BitsAllocated=allocated)
    grey = GREY if photometric == "MONOCHROME2" else 255 - GREY
    check(write(tmp_path / "a.dcm", ds, grey.astype(f"<u{allocated // 8}").tobytes()), tolerance=0)


def test_signed_values(tmp_path: Path) -> None:
    ds = dataset(N, ROWS, COLS, "MONOCHROME2", PixelRepresentation=1)
    check(write(tmp_path / "a.dcm", ds, (GREY.astype(np.int16) - 128).astype(np.int8).tobytes()), tolerance=0)


def test_jpeg_baseline(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm")
    cine, ds = open_cine(path), dcmread(path)
    for i in range(N):
        assert np.abs(cine.frame(i) - luma(pixel_array(ds, index=i))).mean() < 0.7
        assert np.abs(cine.frame(i).astype(float) - GREY[i]).mean() < 1.5


def test_jpeg_with_rgb_components(tmp_path: Path) -> None:
    """Without a JFIF or Adobe marker, a decoder would interpret R, G, B as Y, Cb, Cr."""
    frames = []
    for frame in RGB:
        # Stored as they are: encode the triple as if it were YCbCr, then drop the JFIF segment.
        out = BytesIO()
        Image.frombytes("YCbCr", (COLS, ROWS), frame.tobytes()).save(out, "JPEG", quality=97, subsampling=0)
        data = out.getvalue()
        assert data[2:4] == b"\xff\xe0"
        frames.append(data[:2] + data[4 + int.from_bytes(data[4:6], "big") :])
    path = write(tmp_path / "a.dcm", dataset(N, ROWS, COLS, "RGB"), frames, JPEGBaseline8Bit)
    cine = open_cine(path)
    assert np.abs(cine.frame(2).astype(float) - GREY[2]).mean() < 1.5


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "RGB"])
def test_lossless_compression(tmp_path: Path, syntax: UID, photometric: str) -> None:
    values = GREY if photometric == "MONOCHROME2" else RGB
    ds = dataset(N, ROWS, COLS, photometric)
    path = write(tmp_path / "a.dcm", ds, values.tobytes())
    full = dcmread(path)
    full.compress(syntax)
    full.save_as(path)
    check(path)


def test_a_frame_in_several_fragments(tmp_path: Path) -> None:
    whole, split = jpeg_cine(tmp_path / "a.dcm"), tmp_path / "b.dcm"
    ds = dcmread(whole)
    frames = list(generate_frames(ds.PixelData, number_of_frames=N))
    for has_bot in (True, False):
        ds.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=has_bot)
        ds.save_as(split)
        a, b = open_cine(whole), open_cine(split)
        assert b.n_frames == N
        assert all(np.array_equal(a.frame(i), b.frame(i)) for i in range(N))


def test_frames_are_read_only(tmp_path: Path) -> None:
    frame = open_cine(grey_cine(tmp_path / "a.dcm")).frame(0)
    with pytest.raises(ValueError, match="read-only"):
        frame[0, 0] = 1


def test_content_hash_depends_on_pixels_alone(tmp_path: Path) -> None:
    one = open_cine(grey_cine(tmp_path / "a.dcm"))
    other = open_cine(grey_cine(tmp_path / "b.dcm", PatientName="Someone^Else"))
    changed = GREY.copy()
    changed[-1, -1, -1] ^= 1
    third = open_cine(write(tmp_path / "c.dcm", dataset(N, ROWS, COLS, "MONOCHROME2"), changed.tobytes()))
    assert one.content_hash == other.content_hash != third.content_hash
    assert len(one.content_hash) == 64
