"""Look-up of the project of a cine among the projects on this computer."""

from __future__ import annotations

import logging
from pathlib import Path

from app import paths
from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.storage.project import Project
from app.storage.project_lookup import add_recent, automatic_path, find_project, projects_in, read_recent

logger = logging.getLogger(__name__)


def project_for(cine: Cine) -> Project:
    """Open the project in which a cine was last annotated, else one that contains it, else a new one.

    Raises
    ------
    ProjectError
        If it cannot be read or created.
    """
    known = _known()
    found = find_project(cine.content_hash, known, drawn=True) or find_project(cine.content_hash, known)
    return Project.open_or_create(found or automatic_path(paths.projects_dir(), cine.content_hash))


def find_annotated_elsewhere(cine: Cine, project: Project) -> Path | None:
    """Return another project with annotations of a cine, or None."""
    try:
        others = [path for path in _known() if path != project.path]
    except ProjectError:
        return None
    return find_project(cine.content_hash, others, drawn=True)


def remember_project(project: Project) -> None:
    """Add a project to the list of recent projects, if the list can be written."""
    try:
        add_recent(_recent(), project.path)
    except ProjectError as error:
        logger.info("the project is not listed as recent: %s", error)


def _known() -> list[Path]:
    return [*projects_in(paths.projects_dir()), *read_recent(_recent())]


def _recent() -> Path:
    return paths.config_dir() / "recent.json"
