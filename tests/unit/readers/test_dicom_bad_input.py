"""Error messages for files that cannot be opened or are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from app.domain.errors import CineError
from app.readers.describe import describe, describe_text
from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import PATIENT, dataset, grey_cine, jpeg_cine, write

# pytest replaces the program's warning filters; the last test here uses a separate process.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
ROOT = Path(__file__).resolve().parents[3]


def refusal(path: Path, capfd: pytest.CaptureFixture[str] | None = None) -> str:
    """Return the error message after checks that apply to all messages."""
    with pytest.raises(CineError) as caught:
        open_cine(path)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert text.endswith(".")
    for secret in (PATIENT, "ID-4711", "20010203", "19500607"):
        assert secret not in text
    if capfd is not None:
        assert capfd.readouterr().err == ""
    return text


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "gone.dcm")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").touch()
    assert "is empty" in refusal(tmp_path / "a.dcm")


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "no images" in refusal(tmp_path)


def test_random_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.dcm"
    for _ in range(20):
        path.write_bytes(rng.bytes(5000))
        assert "not a DICOM file" in refusal(path, capfd)


def test_random_bytes_after_a_dicom_preamble(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "a.dcm"
    for _ in range(40):
        path.write_bytes(bytes(128) + b"DICM" + rng.bytes(3000))
        refusal(path, capfd)


@pytest.mark.parametrize("name", ["a.txt", "a.pdf"])
def test_unknown_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("%PDF-1.4 nothing to see here")
    assert "choose a DICOM" in refusal(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission(tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    path.chmod(0)
    assert "permissions" in refusal(path)


def test_permission_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = grey_cine(tmp_path / "a.dcm")

    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "permissions" in refusal(path)


@pytest.mark.parametrize("keep", [140, 200, 400, 700])
def test_truncated_header(tmp_path: Path, keep: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:keep])
    assert any(w in refusal(path, capfd) for w in ("before its images", "damaged", "truncated"))


@pytest.mark.parametrize("maker", [grey_cine, jpeg_cine])
def test_truncated_pixel_data_keep_the_complete_frames(tmp_path: Path, maker: object) -> None:
    whole, cut = tmp_path / "a.dcm", tmp_path / "b.dcm"
    maker(whole)  # type: ignore[operator]
    data = whole.read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00")
    cut.write_bytes(data[: start + (len(data) - start) // 2])
    full, part = open_cine(whole), open_cine(cut)
    assert 0 < part.n_frames < full.n_frames
    assert len(part.timing.times_ms) == part.n_frames
    assert any("truncated" in w and f"{part.n_frames} of 6" in w for w in part.warnings)
    assert all(np.array_equal(full.frame(i), part.frame(i)) for i in range(part.n_frames))


def test_a_single_remaining_frame_has_no_rate(tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm", FrameTime=None, FrameIncrementPointer=None)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xe0\x7f\x10\x00") + 12 + 96 * 128])
    cine = open_cine(path)
    assert (cine.n_frames, cine.timing.fps) == (1, 0.0)
    assert not any("frame rate" in w for w in cine.warnings)


@pytest.mark.parametrize("maker", [grey_cine, jpeg_cine])
def test_pixel_data_without_a_complete_frame(tmp_path: Path, maker: object) -> None:
    path = tmp_path / "a.dcm"
    maker(path)  # type: ignore[operator]
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xe0\x7f\x10\x00") + 80])
    assert "truncated" in refusal(path)


def test_fewer_frames_than_stated(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm")
    ds = dcmread(path)
    ds.NumberOfFrames = 9
    ds.save_as(path)
    cine = open_cine(path)
    assert cine.n_frames == 6
    assert any("6 of 9" in w for w in cine.warnings)


def test_a_damaged_frame_does_not_affect_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = jpeg_cine(tmp_path / "a.dcm")
    data = bytearray(path.read_bytes())
    third = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"][3]
    data[third : third + 40] = bytes(40)
    path.write_bytes(bytes(data))
    cine = open_cine(path)
    with pytest.raises(CineError, match=r"a\.dcm: frame 3 is damaged"):
        cine.frame(3)
    assert cine.frame(4).shape == (96, 128)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, UID("1.2.840.10008.1.2.4.70")]
)
def test_invalid_compressed_data(tmp_path: Path, syntax: UID, capfd: pytest.CaptureFixture[str]) -> None:
    junk = [np.random.default_rng(i).bytes(600) for i in range(3)]
    path = write(tmp_path / "a.dcm", dataset(3, 96, 128, "MONOCHROME2"), junk, syntax)
    assert "cannot be decoded" in refusal(path, capfd)


def test_zero_frames(tmp_path: Path) -> None:
    assert "no frames" in refusal(grey_cine(tmp_path / "a.dcm", NumberOfFrames=0))


def test_missing_image_size(tmp_path: Path) -> None:
    assert "size" in refusal(grey_cine(tmp_path / "a.dcm", Rows=0))


def test_unknown_pixel_format(tmp_path: Path) -> None:
    assert "pixel format" in refusal(grey_cine(tmp_path / "a.dcm", PhotometricInterpretation="CMYK"))


@pytest.mark.parametrize(
    ("uid", "word"),
    [
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
        ("1.2.840.10008.1.2.4.111", "JPEG XL"),
        ("1.2.840.10008.1.2.4.112", "JPEG XL"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.840.10008.1.2.4.999", "1.2.840.10008.1.2.4.999"),
    ],
)
def test_unsupported_compression(tmp_path: Path, uid: str, word: str) -> None:
    # pydicom does not write an unknown transfer syntax: it is changed afterwards.
    stand_in = "1.2.840.10008.1.2.4.100"  # as long as all of these
    path = write(
        tmp_path / "a.dcm", dataset(1, 96, 128, "MONOCHROME2"), [b"\xff\x0a" + bytes(50)], UID(stand_in)
    )
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), uid.encode(), 1))
    assert word in refusal(path)


def test_structured_report(tmp_path: Path) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    ds.PatientName, ds.Modality = PATIENT, "SR"
    assert "no images (Basic Text SR object)" in refusal(write(tmp_path / "a.dcm", ds, None))


def test_volume_segmentation_and_index(tmp_path: Path) -> None:
    volume = grey_cine(tmp_path / "v.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.6.2")
    assert "3D ultrasound volume" in refusal(volume)
    assert "segmentation" in refusal(grey_cine(tmp_path / "s.dcm", Modality="SEG"))
    assert "DICOMDIR" in refusal(grey_cine(tmp_path / "DICOMDIR", SOPClassUID="1.2.840.10008.1.3.10"))


def test_encrypted(tmp_path: Path) -> None:
    ds = dataset(1, 96, 128, "MONOCHROME2")
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID, item.EncryptedContent = "1.2.840.10008.1.2", bytes(64)
    ds.EncryptedAttributesSequence = Sequence([item])
    assert "is encrypted" in refusal(write(tmp_path / "a.dcm", ds, None))
    envelope = tmp_path / "b.dcm"
    envelope.write_bytes(bytes.fromhex("3082040006092a864886f70d010703a082") + bytes(1000))
    assert "is encrypted" in refusal(envelope)


def test_no_patient_data_in_descriptions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", SeriesDescription="Smith A4C", FrameTime=0))
    output = str(describe(cine)) + describe_text(cine) + repr(cine)
    for secret in ("Smith", "ID-4711", "20010203", "19500607"):
        assert secret not in output
    assert cine.view == "A4C"
    assert capfd.readouterr().err == ""


def test_invalid_values_write_nothing_to_stderr(tmp_path: Path) -> None:
    """In a separate process, because pytest captures warnings."""
    bad = grey_cine(tmp_path / "a.dcm")
    bad.write_bytes(
        bad.read_bytes().replace(b"ID-4711 ", b"\xff\xfe\xfd\xfc\xff\xfe\xfd ").replace(b"40.0", b"4O.0")
    )
    cut = grey_cine(tmp_path / "b.dcm")
    cut.write_bytes(cut.read_bytes()[:500])
    code = (
        "import sys\nfrom app.readers.open import open_cine\nfrom app.domain.errors import CineError\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        open_cine(path)\n"
        "    except CineError:\n        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bad), str(cut)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
