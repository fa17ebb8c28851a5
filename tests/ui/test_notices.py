"""Texts of notices."""

from __future__ import annotations

from pathlib import Path

from app.ui.notices import notice_text
from app.workspace.notice import ProjectConverted


def test_a_converted_project_names_its_backup_and_what_it_contains() -> None:
    text = notice_text(ProjectConverted("mine.apical", Path("folder", "mine.backup-v2.apical")))
    assert "mine.backup-v2.apical" in text
    assert "delete it before you share" in text
