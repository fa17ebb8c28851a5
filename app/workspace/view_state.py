"""View state of a project: the visible cine, the visible frames, and the state of the window."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from app.domain.errors import ProjectError
from app.storage.project import Project
from app.workspace.opened_cine import OpenedCine

logger = logging.getLogger(__name__)


def read_view(project: Project | None) -> dict[str, Any]:
    """Return the stored view state; empty if there is none or it cannot be read."""
    try:
        return project.view_state() if project is not None else {}
    except ProjectError as error:
        logger.info("the view cannot be read: %s", error)
        return {}


def write_view(
    project: Project, view: dict[str, Any], visible: OpenedCine, opened_cines: Iterable[OpenedCine]
) -> None:
    """Store a view state with the visible cine and the visible frame of each open cine."""
    frames = read_view(project).get("frames", {}) | {str(opened.id): opened.frame for opened in opened_cines}
    try:
        project.save_view_state({**view, "cine": visible.id, "frames": frames})
    except ProjectError as error:
        logger.info("the view is not saved: %s", error)


def visible_frame(project: Project, cine_id: int, n_frames: int) -> int:
    """Return the frame of a cine that was last visible; 0 by default."""
    frame = read_view(project).get("frames", {}).get(str(cine_id), 0)
    return min(frame, n_frames - 1) if isinstance(frame, int) and frame > 0 else 0
