"""Files are complete or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vjepa_core.atomic import replacing, unfinished_name, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "masks.nii.gz"
    path.write_text("old")
    with replacing(path, sync=True) as temporary:
        assert temporary.suffix == ".tmp"
        assert unfinished_name(temporary) == "masks.nii.gz"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_libraries_can_choose_the_format_by_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "masks.nii.gz", keep_suffix=True) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()


def test_a_failed_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path, private=True) as temporary:
        temporary.write_text("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a.json", ".a.json.tmp", ".a.json.1.tmp", "a.json.1-2.tmp", ".1-2.tmp"])
def test_other_names_are_not_those_of_unfinished_files(name: str) -> None:
    assert unfinished_name(Path(name)) is None
