"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest
from hypothesis import settings

from vjepa_core.processor import SPEED_FILE_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
SLOW_TIMEOUT_S = 900

# The same examples in every run, and no deadlines, which a busy machine might miss.
settings.register_profile("apical", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("apical")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests more time, and leave them out of the coverage where measuring it is slow.

    Before `sys.monitoring` (Python 3.12) the measurement slows tests down by about a quarter.
    """
    for item in items:
        if item.get_closest_marker("slow"):
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
            if sys.version_info < (3, 12):
                item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real cines, which are not part of the repository."""
    folder = Path(os.environ.get("APICAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measurement data in {folder}; set APICAL_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def demo_cine_path() -> Path:
    """Return the path of the apical four-chamber cine that ships with pydicom."""
    from pydicom import examples

    return Path(examples.get_path("ybr_color"))


@pytest.fixture(scope="session", autouse=True)
def _shared_speed_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make all processes of a test run compute in the same number format."""
    os.environ.setdefault(SPEED_FILE_VARIABLE, str(tmp_path_factory.mktemp("speed") / "processor.json"))


@pytest.fixture(autouse=True)
def _isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's projects, settings and cache."""
    monkeypatch.setenv("APICAL_HOME", str(tmp_path_factory.mktemp("apical-home")))
