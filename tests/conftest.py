"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest

from vjepa_core.processor import SPEED_FILE_VARIABLE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the real cines, never part of the repository: APICAL_DATA, default ../shared/data."""
    folder = Path(os.environ.get("APICAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the measurement data is not here ({folder}); set APICAL_DATA to use it")
    return folder


@pytest.fixture(scope="session")
def demo_cine_path() -> Path:
    """The apical four-chamber cine that ships with pydicom."""
    from pydicom import examples

    return Path(examples.get_path("ybr_color"))


@pytest.fixture(scope="session", autouse=True)
def _one_measurement(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All processes of a test run compute in the same number format."""
    os.environ.setdefault(SPEED_FILE_VARIABLE, str(tmp_path_factory.mktemp("speed") / "processor.json"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own projects, settings or cache."""
    monkeypatch.setenv("APICAL_HOME", str(tmp_path_factory.mktemp("apical-home")))
