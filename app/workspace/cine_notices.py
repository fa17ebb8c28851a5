"""Notices about a cine that is shown for the first time."""

from __future__ import annotations

from app.storage.project import Project
from app.workspace.known_projects import find_annotated_elsewhere
from app.workspace.notice import AnnotatedElsewhere, CineWarning, Notice
from app.workspace.opened_cine import OpenedCine


def notices_about(opened: OpenedCine, project: Project) -> list[Notice]:
    """Return the warnings of the reader, and a notice if only another project has annotations of the cine."""
    name = opened.cine.path.name
    notices: list[Notice] = [CineWarning(name, text) for text in opened.cine.warnings]
    if not opened.revision and (other := find_annotated_elsewhere(opened.cine, project)):
        notices.append(AnnotatedElsewhere(name, other))
    return notices
