"""Where things are kept."""

from __future__ import annotations

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


@pytest.mark.parametrize("where", FOLDERS)
def test_apical_home_holds_all_of_it(
    where: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "new" / "place"))
    folder = where()
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "new" / "place")


@pytest.mark.parametrize("where", FOLDERS)
def test_a_place_that_cannot_be_is_one_sentence(
    where: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    with pytest.raises(ProjectError, match="APICAL_HOME"):
        where()


def test_without_it_the_system_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APICAL_HOME")
    monkeypatch.setattr("platformdirs.PlatformDirs.user_data_path", tmp_path / "data")
    assert paths.projects_dir() == tmp_path / "data" / "projects"
