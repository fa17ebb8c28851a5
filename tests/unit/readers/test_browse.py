"""Search for cines in folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.domain.errors import CineError
from app.readers.browse import cine_paths

DICOM = bytes(128) + b"DICM" + bytes(20)


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_keep_their_order_without_duplicates(tmp_path: Path) -> None:
    a, b = put(tmp_path / "a.xyz"), tmp_path / "gone.dcm"
    assert cine_paths([b, a, b]) == [b, a]
    assert cine_paths([]) == []


def test_a_folder_is_replaced_by_all_cines_below_it(tmp_path: Path) -> None:
    wanted = [
        put(tmp_path / "IM_0001", DICOM),
        put(tmp_path / "a.DCM"),
        put(tmp_path / "b.nii.gz"),
        put(tmp_path / "sub" / "1.2.840.113", DICOM),
        put(tmp_path / "sub" / "deep" / "c.mp4"),
    ]
    for other in ("DICOMDIR", "image.png", "notes.txt", "sub/thumb.jpg", "empty"):
        put(tmp_path / other, DICOM if other == "DICOMDIR" else b"")
    assert sorted(cine_paths([tmp_path])) == sorted(wanted)


def test_a_folder_of_images_is_one_cine(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / f"{n}.png")
    put(tmp_path / "readme.txt")
    assert cine_paths([tmp_path]) == [tmp_path]


@pytest.mark.parametrize("inside", [[], ["notes.txt"], [".hidden/notes.txt"]])
def test_a_folder_without_cines_is_rejected_by_name(tmp_path: Path, inside: list[str]) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    for name in inside:
        put(folder / name)
    with pytest.raises(CineError, match="papers contains no cine"):
        cine_paths([folder])


def test_a_cine_given_twice_is_listed_once(tmp_path: Path) -> None:
    a = put(tmp_path / "a.dcm", DICOM)
    assert cine_paths([tmp_path, a]) == [a]


def test_hidden_files_of_the_system_are_ignored(tmp_path: Path) -> None:
    """macOS adds a "._" file for each file on other file systems."""
    a = put(tmp_path / "a.dcm", DICOM)
    put(tmp_path / "._a.dcm", b"\x00\x05\x16\x07")
    put(tmp_path / ".Trash" / "b.dcm", DICOM)
    put(tmp_path / "__MACOSX" / "._c.dcm")
    assert cine_paths([tmp_path]) == [a]


def test_numbers_in_names_are_sorted_as_numbers(tmp_path: Path) -> None:
    for n in (10, 2, 1):
        put(tmp_path / f"IM_{n}.dcm", DICOM)
    assert [p.name for p in cine_paths([tmp_path])] == ["IM_1.dcm", "IM_2.dcm", "IM_10.dcm"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_ignored(tmp_path: Path) -> None:
    a = put(tmp_path / "a.dcm", DICOM)
    put(tmp_path / "b", DICOM).chmod(0)
    assert cine_paths([tmp_path]) == [a]
