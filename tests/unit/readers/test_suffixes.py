"""The list of file name suffixes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.readers.browse import cine_paths
from app.readers.open import format_of
from app.readers.suffixes import CINE_SUFFIXES, IMAGE_SUFFIXES, name_filter


@pytest.mark.parametrize(
    "suffix", [".mov", ".m4v", ".webm", ".wmv", ".mpg", ".MOV", ".mp4", ".gif", ".dicom"]
)
def test_a_folder_with_one_file_of_each_suffix(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"x")
    assert cine_paths([tmp_path]) == [file]


def test_dialogs_list_all_suffixes() -> None:
    for suffix in (*CINE_SUFFIXES, *IMAGE_SUFFIXES):
        assert f"*{suffix}" in name_filter()
    assert "All files (*)" in name_filter()  # DICOM often has none


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x14ftypqt  ", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),
        (b"\0\0\x01\xba", "video"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"II+\0\x08\0\0\0", "image"),
    ],
)
def test_formats_are_recognised_by_their_first_bytes(tmp_path: Path, head: bytes, name: str | None) -> None:
    (tmp_path / "file").write_bytes(head + bytes(400))
    found = format_of(tmp_path / "file")
    assert (None if found is None else found.name) == name


def test_files_without_a_known_suffix_are_recognised_by_content(tmp_path: Path) -> None:
    video, stack = tmp_path / "IMG_0001", tmp_path / "stack.tif"
    video.write_bytes(b"\0\0\0\x14ftypqt  " + bytes(600))
    pages = [Image.new("L", (32, 32), grey) for grey in (10, 20, 30)]
    pages[0].save(stack, save_all=True, append_images=pages[1:])
    assert cine_paths([tmp_path]) == [video]
    video.unlink()
    assert cine_paths([tmp_path]) == [stack]
