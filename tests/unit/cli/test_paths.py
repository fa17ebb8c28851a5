"""Folders of the program."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from app import paths
from app.domain.errors import ProjectError

FOLDERS = [
    paths.home,
    paths.projects_dir,
    paths.cache_dir,
    paths.features_dir,
    paths.config_dir,
    lambda: paths.log_file().parent,
]


@pytest.mark.parametrize("folder_of", FOLDERS)
def test_apical_home_contains_all_folders(
    folder_of: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "new" / "place"))
    folder = folder_of()
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "new" / "place")


@pytest.mark.parametrize("folder_of", FOLDERS)
def test_a_folder_that_cannot_be_created_raises_one_sentence(
    folder_of: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    with pytest.raises(ProjectError, match="APICAL_HOME"):
        folder_of()


def test_without_apical_home_the_standard_folder_of_the_system_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APICAL_HOME")
    monkeypatch.setattr("platformdirs.PlatformDirs.user_data_path", tmp_path / "data")
    assert paths.projects_dir() == tmp_path / "data" / "projects"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
@pytest.mark.parametrize("folder_of", FOLDERS)
def test_folders_are_readable_by_their_owner_only(
    folder_of: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "new"))
    folder = folder_of()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_existing_folders_of_the_program_become_private_but_not_the_folder_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APICAL_HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    (tmp_path / "projects").mkdir(mode=0o755)
    assert stat.S_IMODE(paths.projects_dir().stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
