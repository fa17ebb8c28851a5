"""Which projects there are on this machine, and which of them a cine belongs to."""

from __future__ import annotations

import logging
from pathlib import Path

from app import paths as places
from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.storage.project import Project
from app.storage.project_lookup import automatic_path, find_project, projects_in, read_recent, remember

logger = logging.getLogger(__name__)


def project_for(cine: Cine) -> Project:
    """Open the project that this cine was last drawn on in, else that knows it, else a new one of its own.

    Raises
    ------
    ProjectError
        If that cannot be read or made.
    """
    known = _known()
    found = find_project(cine.content_hash, known, drawn=True) or find_project(cine.content_hash, known)
    return Project.open_or_create(found or automatic_path(places.projects_dir(), cine.content_hash))


def drawn_elsewhere(cine: Cine, project: Project) -> Path | None:
    """Another project in which this cine was drawn on; None where there is none or nobody can tell."""
    try:
        others = [path for path in _known() if path != project.path]
    except ProjectError:
        return None
    return find_project(cine.content_hash, others, drawn=True)


def remember_project(project: Project) -> None:
    """List a project as recent, where the settings can be written."""
    try:
        remember(_recent(), project.path)
    except ProjectError as error:
        logger.info("the project is not listed as recent: %s", error)


def _known() -> list[Path]:
    return [*projects_in(places.projects_dir()), *read_recent(_recent())]


def _recent() -> Path:
    return places.config_dir() / "recent.json"
