"""Number of frames and bit depth of videos, animations, multi-page files and images."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from app.domain.errors import CineError
from app.readers import video
from app.readers.open import open_cine
from app.readers.video_boxes import has_hidden_frames, is_cut_short
from tests.unit.readers.dicom_oracle import grey_cine, luma, rgb_frames

GREY = np.rint(luma(rgb_frames(9))).astype(np.uint8)


def coded(n: int) -> np.ndarray:
    """Frames (n, 48, 64) with a different grey level in each frame."""
    frames = np.zeros((n, 48, 64), np.uint8)
    frames[:, 8:40, 8:56] = (20 + 5 * (np.arange(n) % 40))[:, None, None]
    return frames


def write_video(path: Path, frames: np.ndarray, codec: str = "MJPG", fps: float = 30.0) -> Path:
    _, height, width = frames.shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def test_a_live_recording_without_duration(tmp_path: Path) -> None:
    """A recording of a browser, for which OpenCV returns a negative count."""
    path = write_video(tmp_path / "a.mkv", coded(700))
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88")  # Duration, 8 bytes
    path.write_bytes(data[:at] + b"\xec\x89" + data[at + 2 : at + 11] + data[at + 11 :])
    cine = open_cine(path)
    assert cine.n_frames == 700
    assert abs(int(cine.frame(699)[24, 32]) - int(coded(700)[699, 24, 32])) < 6
    assert not any("frames" in w for w in cine.warnings)


@pytest.mark.parametrize("count", [0, 1, 5, 5000, 1_207_959_648, 0xFFFFFFFF])
def test_an_avi_with_a_wrong_frame_count(tmp_path: Path, count: int) -> None:
    path = write_video(tmp_path / "a.avi", coded(20))
    data = bytearray(path.read_bytes())
    for at in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[at : at + 4] = struct.pack("<L", count)
    path.write_bytes(bytes(data))
    cine = open_cine(path)
    assert cine.n_frames == 20
    assert len(cine.timing.times_ms) == 20
    assert not any("truncated" in w for w in cine.warnings)


def test_a_long_video_is_counted_by_its_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi", coded(90))
    monkeypatch.setattr(video, "_COUNTED_PIXELS", 0)
    cine = open_cine(path)
    assert cine.n_frames == 90
    assert cine.timing.fps == pytest.approx(30)
    assert cine.frame(89).shape == (48, 64)


def trimmed(path: Path) -> Path:
    """Create an MP4 with an edit list that hides its first half, like trimming without recoding."""
    write_video(path, coded(40), "mp4v")
    data = bytearray(path.read_bytes())
    (timescale,) = struct.unpack(">L", data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])
    at = data.index(b"elst") + 12
    data[at + 4 : at + 8] = struct.pack(">l", timescale * 24 // 30)
    path.write_bytes(bytes(data))
    return path


def test_a_trimmed_mp4_is_not_reported_as_truncated(tmp_path: Path) -> None:
    path = trimmed(tmp_path / "a.mp4")
    assert has_hidden_frames(path)
    assert not is_cut_short(path)
    cine = open_cine(path)
    assert 10 <= cine.n_frames < 25
    assert not any("truncated" in w or "decoded" in w for w in cine.warnings)
    assert abs(int(cine.frame(cine.n_frames - 1)[24, 32]) - int(coded(40)[39, 24, 32])) < 8


def test_a_truncated_file_is_reported(tmp_path: Path) -> None:
    for name in ("a.avi", "b.mkv", "c.mp4"):
        path = write_video(tmp_path / name, coded(40), "mp4v" if name == "c.mp4" else "MJPG")
        assert not is_cut_short(path)
        assert not has_hidden_frames(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert is_cut_short(path)


def test_intact_files_are_not_reported_as_damaged(tmp_path: Path) -> None:
    for name, codec in (("a.avi", "MJPG"), ("b.mkv", "MJPG"), ("c.mp4", "mp4v"), ("d.mov", "mp4v")):
        cine = open_cine(write_video(tmp_path / name, coded(33), codec))
        assert cine.n_frames == 33
        assert len(cine.warnings) == 1  # no pixel size


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.webp", "a.gif"])
def test_every_page_of_a_file_is_a_frame(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(frame) for frame in GREY]
    options: dict[str, Any] = {} if name == "a.tif" else {"duration": 40}
    if name == "a.webp":
        options["lossless"] = True
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], **options)
    cine = open_cine(tmp_path / name)
    assert cine.n_frames == 9
    for i in (8, 3, 0, 5):
        assert np.abs(cine.frame(i).astype(float) - GREY[i]).max() <= 2
    assert cine.timing.source == ("assumed" if name == "a.tif" else "container")
    if name != "a.tif":
        assert cine.timing.fps == pytest.approx(25)


def test_pages_of_16_bits_and_of_other_sizes(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame.astype(np.uint16) << 2) for frame in GREY]
    thumbnail = Image.fromarray(GREY[0, ::4, ::4].astype(np.uint16))
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[*pages[1:], thumbnail])
    cine = open_cine(tmp_path / "a.tif")
    assert cine.n_frames == 9
    assert np.abs(cine.frame(8).astype(float) - GREY[8]).max() <= 2
    assert any("size differs" in w for w in cine.warnings)
    assert any("10 of 16 bits" in w for w in cine.warnings)


def test_a_truncated_gif_keeps_its_complete_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame) for frame in GREY]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=40)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) * 6 // 10])
    cine = open_cine(tmp_path / "a.gif")
    assert 0 < cine.n_frames < 9
    assert all(np.abs(cine.frame(i).astype(float) - GREY[i]).max() <= 2 for i in range(cine.n_frames))


def test_multipage_files_in_a_folder_are_rejected(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame) for frame in GREY]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert open_cine(tmp_path).n_frames == 9  # alone in its folder
    pages[0].save(tmp_path / "b.tif")
    with pytest.raises(CineError, match=r"a\.tif has 9 pages"):
        open_cine(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_white_is_the_largest_value_of_the_used_bits(tmp_path: Path, bits: int, suffix: str) -> None:
    for i, frame in enumerate(GREY):
        cv2.imwrite(str(tmp_path / f"{i}.{suffix}"), frame.astype(np.uint16) << (bits - 8))
    cine = open_cine(tmp_path)
    for i in (0, 8):
        assert np.abs(cine.frame(i).astype(float) - GREY[i]).max() <= 2
    assert any(f"{bits} of 16 bits" in w for w in cine.warnings) == (bits < 16)


def test_one_range_for_all_images_of_a_folder(tmp_path: Path) -> None:
    """Also if the brightest image is not sampled first; also for 16-bit colour."""
    for i in range(20):
        level = 4000 if i == 7 else 1000
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), np.full((48, 64, 3), level, np.uint16))
    cine = open_cine(tmp_path)
    assert int(cine.frame(7).max()) == pytest.approx(249, abs=1)
    assert int(cine.frame(0).max()) == pytest.approx(62, abs=1)


def test_images_with_a_huge_stated_size_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), GREY[0])
    data = path.read_bytes()
    for width, height in ((60000, 60000), (9000, 9000)):
        head = b"IHDR" + struct.pack(">LL", width, height) + data[24:29]
        path.write_bytes(data[:12] + head + struct.pack(">L", zlib.crc32(head)) + data[33:])
        with pytest.raises(CineError, match=r"a\.png (states an image size|has images)"):
            open_cine(path)


def test_a_png_with_a_huge_chunk_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), GREY[0])
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + struct.pack(">L", 0x7FFFFFF0) + data[at + 4 :])
    with pytest.raises(CineError, match="damaged image"):
        open_cine(path)


def test_nifti_with_a_huge_stated_size_is_rejected(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(GREY.transpose(2, 1, 0), np.eye(4))
    for name in ("a.nii", "b.nii.gz"):
        path = tmp_path / name
        nibabel.save(image, path)
        data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
        data = data[:42] + struct.pack("<3h", 32767, 32767, 32767) + data[48:]
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        with pytest.raises(CineError, match="incomplete NIfTI"):
            open_cine(path)


def test_nifti_that_expands_too_much_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nibabel.save(nibabel.Nifti1Image(GREY.transpose(2, 1, 0), np.eye(4)), tmp_path / "a.nii.gz")
    monkeypatch.setattr("app.readers.nifti.MAX_UNPACKED", 1000)
    with pytest.raises(CineError, match=r"decompress it to \.nii"):
        open_cine(tmp_path / "a.nii.gz")


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names are Unicode there")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """OpenCV crashes for such names."""
    pages = [Image.fromarray(frame) for frame in GREY]
    pages[0].save(tmp_path / "d.gif", save_all=True, append_images=pages[1:], duration=40)
    pages[0].save(tmp_path / "e.tif", save_all=True, append_images=pages[1:])
    nibabel.save(nibabel.Nifti1Image(GREY.transpose(2, 1, 0), np.eye(4)), tmp_path / "f.nii.gz")
    grey_cine(tmp_path / "g.dcm", 9)
    write_video(tmp_path / "a.avi", GREY)
    write_video(tmp_path / "b.mp4", GREY, "mp4v")
    (tmp_path / "h").mkdir()
    for i, frame in enumerate(GREY):
        cv2.imwrite(str(tmp_path / "h" / f"{i}.png"), frame)
    for file in sorted(tmp_path.iterdir()):
        odd = file.rename(tmp_path / os.fsdecode(b"herz_\xe4" + os.fsencode(file.name)))
        assert open_cine(odd).n_frames == 9
    broken = tmp_path / os.fsdecode(b"\xff.mp4")
    broken.write_bytes((tmp_path / os.fsdecode(b"herz_\xe4b.mp4")).read_bytes()[:200])
    with pytest.raises(CineError, match="has no video"):
        open_cine(broken)
