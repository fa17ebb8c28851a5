"""Label files of other programs: the error names the real cause, and no file is ignored silently."""

from __future__ import annotations

import gzip
import io
import logging
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from app.domain.errors import LabelError
from app.domain.labels import LEFT_HEART
from app.storage.labels_io import read_labels

T, H, W = 4, 20, 30
SHAPE = (T, H, W)


def mask() -> np.ndarray:
    out = np.zeros((H, W), np.uint8)
    out[4:12, 6:20] = 1
    out[12:15, 6:20] = 2
    return out


def save(path: Path, image: np.ndarray | Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(LabelError) as caught:
        read_labels(path, SHAPE, LEFT_HEART)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text
    assert "damaged" not in text
    return text


# Values with another meaning


def test_for_a_mask_of_0_and_255_the_error_explains_255(tmp_path: Path) -> None:
    binary = (mask() > 0).astype(np.uint8) * 255
    save(tmp_path / "p" / "frame_0000.png", binary)
    text = refusal(tmp_path / "p")
    assert "frame_0000.png" in text
    assert "255 means unlabelled" in text
    assert "1 LV cavity" in text
    volume = np.full(SHAPE, 255, np.uint8)
    volume[2] = binary
    nib.save(nib.Nifti1Image(volume.T, np.eye(4)), tmp_path / "l.nii.gz")
    assert "255 means unlabelled" in refusal(tmp_path / "l.nii.gz")


def test_a_mask_of_0_and_255_among_other_labels_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "frame_0000.png", mask())
    save(tmp_path / "frame_0002.png", (mask() > 0).astype(np.uint8) * 255)
    with caplog.at_level(logging.WARNING):
        assert list(read_labels(tmp_path, SHAPE, LEFT_HEART)) == [0, 2]
    assert "frame_0002.png" in caplog.text
    assert "255, which means unlabelled" in caplog.text


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("RGB", "is in colour"),
        ("RGBA", "alpha channel"),
        ("LA", "alpha channel"),
        ("I;16", "16 bits"),
        ("1", "one bit"),
    ],
)
def test_the_error_names_the_cause(tmp_path: Path, mode: str, cause: str) -> None:
    save(tmp_path / "frame_0001.png", Image.new(mode, (W, H)))
    assert cause in refusal(tmp_path)


def test_a_jpeg_named_png_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(mask() * 60).save(content, "JPEG")
    (tmp_path / "frame_0001.png").write_bytes(content.getvalue())
    assert "is a JPEG and not a PNG" in refusal(tmp_path)


@pytest.mark.parametrize("depth", [2, 4])
def test_grey_values_of_two_or_four_bits_are_labels(tmp_path: Path, depth: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    bits = np.unpackbits(mask()[..., None], axis=2)[:, :, 8 - depth :].reshape(H, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    (tmp_path / "frame_0001.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert np.array_equal(read_labels(tmp_path, SHAPE, LEFT_HEART)[1], mask())


def test_whole_numbers_stored_with_a_slope_are_accepted(tmp_path: Path) -> None:
    volume = np.full(SHAPE, 255.0)
    volume[1] = mask()
    for dtype in (np.int16, np.int8):
        image = nib.Nifti1Image(np.where(volume == 255, 3, volume).T, np.eye(4))
        image.set_data_dtype(dtype)
        nib.save(image, tmp_path / "l.nii.gz")
        stored = np.asarray(nib.load(tmp_path / "l.nii.gz").dataobj)  # type: ignore[attr-defined]
        assert not np.array_equal(stored, np.rint(stored))  # precondition of this test
        assert np.array_equal(read_labels(tmp_path / "l.nii.gz", SHAPE, LEFT_HEART)[1], mask())


def test_the_error_shows_values_that_are_not_whole_numbers(tmp_path: Path) -> None:
    volume = np.broadcast_to(mask(), SHAPE).astype(np.float32)
    volume[0, 5, 7:9] = 1.02, 1.9
    nib.save(nib.Nifti1Image(volume.T, np.eye(4)), tmp_path / "l.nii.gz")
    text = refusal(tmp_path / "l.nii.gz")
    assert "(1.01999" in text or "(1.02," in text
    assert "1.89999" in text or "1.9)" in text
    assert "labels are whole numbers" in text


def test_a_nifti_of_complex_numbers_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((W, H, T), np.complex64), np.eye(4)), tmp_path / "l.nii")
    assert "complex" in refusal(tmp_path / "l.nii")


# Names


def test_other_common_names_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("frame_0000.png", "frame_0001_mask.png", "frame-0002.png", "Frame0003.labels.PNG"):
        save(tmp_path / name, mask())
    with caplog.at_level(logging.WARNING):
        assert list(read_labels(tmp_path, SHAPE, LEFT_HEART)) == [0, 1, 2, 3]
    assert "frame_0001_mask.png (frame 1)" in caplog.text
    assert "frame-0002.png (frame 2)" in caplog.text
    assert "frame_0000.png" not in caplog.text
    assert "Not used" not in caplog.text


def test_unused_label_images_cause_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "frame_0001.png", mask())
    for name in ("0002.png", "patient3_frame_0002.png", "mask_0003.png", "frame_0003.bmp", "frame_a.png"):
        save(tmp_path / name, mask())
    (tmp_path / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert list(read_labels(tmp_path, SHAPE, LEFT_HEART)) == [1]
    for name in ("0002.png", "patient3_frame_0002.png", "mask_0003.png", "frame_0003.bmp", "frame_a.png"):
        assert name in caplog.text
    assert "notes.txt" not in caplog.text
    assert "frame_0012.png" in caplog.text


def test_the_error_lists_the_content_of_a_folder_without_labels(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    save(folder / "0009.png", mask())
    save(folder / "masks" / "frame_0001.png", mask())
    text = refusal(folder)
    assert "0009.png" in text
    assert "masks/" in text
    assert "frame_0012.png" in text
    for i in range(30):
        save(folder / f"{i:04d}.png", mask())
    assert "and 21 more" in refusal(folder)
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refusal(tmp_path / "empty")


def test_two_files_of_one_frame_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "frame_0001.png", mask())
    save(tmp_path / "frame_0001_mask.png", mask())
    text = refusal(tmp_path)
    assert "frame_0001.png" in text
    assert "frame_0001_mask.png" in text
    assert "same frame" in text


# Empty frames


def test_a_frame_without_a_structure_is_an_annotation(tmp_path: Path) -> None:
    save(tmp_path / "p" / "frame_0000.png", mask())
    save(tmp_path / "p" / "frame_0001.png", np.zeros((H, W), np.uint8))
    save(tmp_path / "p" / "frame_0002.png", np.full((H, W), 255, np.uint8))
    volume = np.full(SHAPE, 255, np.uint8)
    volume[0], volume[1] = mask(), 0
    nib.save(nib.Nifti1Image(volume.T[:, :, None], np.eye(4)), tmp_path / "l.nii.gz")
    for path in (tmp_path / "p", tmp_path / "l.nii.gz"):
        labels = read_labels(path, SHAPE, LEFT_HEART)
        assert list(labels) == [0, 1]
        assert not labels[1].any()


# Inconsistent headers


def test_a_nifti_shorter_than_its_header_states_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = nib.Nifti1Image(np.ones((W, H, 1, T), np.uint8), np.eye(4))
    content = bytearray(image.to_bytes())
    content[40:56] = np.array([4, 32000, 32000, 1, 32000, 1, 1, 1], "<i2").tobytes()
    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", lambda *_, **__: pytest.fail("it was read"))
    for name in ("l.nii", "l.nii.gz"):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        assert "has 32000 frames and the cine has 4" in refusal(tmp_path / name)


@pytest.mark.parametrize("dim", [[1, 600, 1, 1, 1], [4, 30, -20, 1, 4], [5, 30, 20, 1, 4, 3]])
def test_a_nifti_with_an_unsupported_number_of_axes_is_refused(tmp_path: Path, dim: list[int]) -> None:
    content = bytearray(nib.Nifti1Image(np.ones((W, H, 1, T), np.uint8), np.eye(4)).to_bytes())
    content[40 : 40 + 2 * len(dim)] = np.array(dim, "<i2").tobytes()
    (tmp_path / "l.nii").write_bytes(content)
    assert "l.nii" in refusal(tmp_path / "l.nii")


def test_a_nifti_with_an_invalid_unit_is_read(tmp_path: Path) -> None:
    content = bytearray(
        nib.Nifti1Image(np.broadcast_to(mask().T[..., None], (W, H, T)), np.eye(4)).to_bytes()
    )
    content[123] = 136  # xyzt_units
    (tmp_path / "l.nii").write_bytes(content)
    labels = read_labels(tmp_path / "l.nii", SHAPE, LEFT_HEART, affine=np.eye(4))
    assert np.array_equal(labels[3], mask())
