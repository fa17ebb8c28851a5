"""Search for moved files by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.errors import CineError
from app.storage.records import CineRecord
from app.storage.relocate import relocate


@pytest.fixture
def read() -> list[str]:
    return []


@pytest.fixture
def content_hash_of(read: list[str]) -> Callable[[Path], str]:
    def content_hash_of(path: Path) -> str:
        read.append(path.name)
        text = path.read_text()
        if text == "broken":
            raise CineError(f"{path.name} is broken: give another file.")
        return text

    return content_hash_of


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def record(path: Path) -> CineRecord:
    return CineRecord(1, "heart", 10, 48, 64, path)


def test_an_unmoved_file_is_found_without_a_search(
    tmp_path: Path, content_hash_of: Callable[[Path], str]
) -> None:
    path = write(tmp_path / "a.dcm", "heart")
    assert relocate(record(path), [], content_hash_of) == path


def test_files_of_the_same_name_are_read_first(
    tmp_path: Path, content_hash_of: Callable[[Path], str], read: list[str]
) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.dcm", "other")
    there = write(tmp_path / "deep" / "down" / "a.dcm", "heart")
    assert relocate(record(tmp_path / "gone" / "a.dcm"), [tmp_path], content_hash_of) == there
    assert read == ["a.dcm"]


def test_a_renamed_file_is_found_among_damaged_and_replaced_ones(
    tmp_path: Path, content_hash_of: Callable[[Path], str], read: list[str]
) -> None:
    write(tmp_path / "a.dcm", "somebody else's")
    write(tmp_path / "b.dcm", "broken")
    write(tmp_path / "c.txt", "heart")
    there = write(tmp_path / "IM_0007", "heart")
    assert relocate(record(tmp_path / "gone" / "a.dcm"), [tmp_path], content_hash_of) == there
    assert "c.txt" not in read
    assert read.count("a.dcm") == 1


def test_a_deleted_file_is_not_found(tmp_path: Path, content_hash_of: Callable[[Path], str]) -> None:
    write(tmp_path / "a.dcm", "other")
    assert relocate(record(tmp_path / "gone.dcm"), [tmp_path, tmp_path / "none"], content_hash_of) is None


def test_the_search_ends_after_a_maximum_number_of_files(
    tmp_path: Path, content_hash_of: Callable[[Path], str], read: list[str]
) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.dcm", "other")
    assert relocate(record(tmp_path / "gone.dcm"), [tmp_path], content_hash_of, max_hashed=4) is None
    assert len(read) == 4
