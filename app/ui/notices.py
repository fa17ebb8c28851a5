"""Texts and buttons of the workspace's notices."""

from __future__ import annotations

from app.ui.banner import Action, Banner
from app.workspace import notice as n
from app.workspace.workspace import Workspace


class NoticePresenter:
    """Shows the notices of a workspace in a banner."""

    def __init__(self, *, workspace: Workspace, banner: Banner) -> None:
        self._workspace = workspace
        self._banner = banner
        workspace.notice_raised.connect(self._show)
        workspace.notice_cleared.connect(self._dismiss)

    def _show(self, notice: n.Notice) -> None:
        self._banner.show_message(notice_text(notice), notice.level, self._action(notice))

    def _dismiss(self, notice: n.Notice) -> None:
        self._banner.dismiss(notice_text(notice))

    def _action(self, notice: n.Notice) -> Action | None:
        workspace = self._workspace
        match notice:
            case n.AnnotatedElsewhere():
                return "Open that project", lambda: self._open_project(notice)
            case n.NotSaved():
                return "Try again", workspace.saving.retry
            case n.EngineBusy():
                return "Restart the engine", workspace.learner.restart_engine
            case n.EngineUnavailable() | n.LearningFailed():
                return "Resume learning", workspace.learner.resume
        return None

    def _open_project(self, notice: n.AnnotatedElsewhere) -> None:
        self._dismiss(notice)
        self._workspace.open_project(notice.project)


def notice_text(notice: n.Notice) -> str:
    """Return a notice as one or two sentences."""
    match notice:
        case n.EngineBusy() | n.EngineRestarted() | n.EngineUnavailable() | n.LearningFailed():
            return _engine_text(notice)
        case n.ProjectSaved(path):
            return f"Project saved as {path.name} in {path.parent}."
        case n.ProjectConverted(name, backup):
            return (
                f"{name} was converted to this version of Apical. The file as it was is kept as "
                f"{backup.name}; it contains paths and UIDs: delete it before you share the folder."
            )
        case n.Remark(text):
            return text
        case n.ProjectFailed(reason) | n.FolderNotRead(reason) | n.CineNotOpened(reason):
            return reason
        case n.ProjectNotOpened(name, pending):
            return (
                f"{name} was not opened because {_strokes(pending)} not saved yet: save the current project "
                "elsewhere first (Ctrl+Shift+S)."
            )
        case n.FilesDropped(count, project_name):
            return (
                f"{count} {'files were' if count > 1 else 'file was'} still being opened, and not added to "
                f"{project_name}: open {'them' if count > 1 else 'it'} again."
            )
        case n.CineWarning(cine_name, text):
            return f"{cine_name}: {text}"
        case n.AnnotatedElsewhere(cine_name, project):
            return f"{cine_name} has annotations in another project ({project.name})."
        case n.NotSaved(reason):
            return f"Not saved yet, kept in memory: {reason}"
    raise TypeError(f"no text for {type(notice).__name__}")


def _engine_text(
    notice: n.EngineBusy | n.EngineRestarted | n.EngineUnavailable | n.LearningFailed,
) -> str:
    match notice:
        case n.EngineBusy():
            return "The learning engine is still finishing its current step; this takes a while here."
        case n.EngineRestarted():
            return "The learning engine ended unexpectedly and was restarted; no annotation is lost."
        case n.LearningFailed(reason, cine_name):
            return f"{cine_name}: {reason}" if cine_name else reason
        case n.EngineUnavailable(reason, out_of_memory):
            if reason:
                return reason
            if out_of_memory:
                advice = (
                    "The system ended it, most likely for lack of memory: close other programs, "
                    "then resume learning."
                )
            else:
                advice = "Resume learning to try again, or choose another encoder."
            return (
                "The learning engine ended unexpectedly three times. You can continue to draw without it. "
                f"{advice}"
            )


def _strokes(count: int) -> str:
    return f"{count} stroke{'s are' if count > 1 else ' is'}"
