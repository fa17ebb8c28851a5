"""The encoder dialog."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from app.ui.banner import Banner
from app.ui.encoders.import_page import ImportPage
from app.ui.encoders.list_page import ListPage
from app.ui.notices import notice_text
from app.workspace.notice import Level, Remark
from app.workspace.workspace import Workspace

FILTER = "Encoder weights (*.pt *.pth *.tar *.safetensors *.index.json);;All files (*)"


class EncodersDialog(QDialog):
    """Chooses, compares, imports and removes encoders; non-modal.

    Attributes
    ----------
    list, importer : QWidget
        Page with all encoders; page that imports a file.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.setWindowTitle("Encoders")
        self.setModal(False)
        self.setAcceptDrops(True)
        self.resize(1100, 680)
        self.banner = Banner()
        self.list, self.importer = ListPage(workspace), ImportPage()
        self._pages = QStackedWidget()
        self._pages.setContentsMargins(14, 12, 14, 12)
        for page in (self.list, self.importer):
            self._pages.addWidget(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self._pages, 1)
        self.list.import_wanted.connect(self.ask_for_file)
        self.list.failed.connect(lambda text: self.banner.show_message(text, Level.ERROR))
        self.list.done.connect(self._show_info)
        self.importer.another_wanted.connect(self.ask_for_file)
        self.importer.closed.connect(self.show_list)
        self.importer.imported.connect(self._on_imported)
        self._obstacle = ""
        workspace.learner.progress.connect(self._show_obstacle)
        workspace.learner.ready.connect(self._refresh)  # another encoder may be in use

    # The pages

    def show_list(self) -> None:
        """Show the list of encoders."""
        self._pages.setCurrentWidget(self.list)
        self._refresh()

    def ask_for_file(self) -> None:
        """Ask for a file to import."""
        dialog = QFileDialog(self, "Import an encoder", "", FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda name: self.import_file(Path(name)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def import_file(self, file: Path) -> None:
        """Show the content of a file, and offer to import it."""
        self.banner.clear()
        self._pages.setCurrentWidget(self.importer)
        self.importer.inspect(file)

    def _on_imported(self, name: str) -> None:
        self._pages.setCurrentWidget(self.list)
        self.list.refresh(select=name)
        self._show_info(f"{name} was imported: use it, or compare it first.")

    def _show_info(self, text: str) -> None:
        self.banner.clear()
        self.banner.show_message(text, Level.INFO)

    def _show_obstacle(self) -> None:
        """Show why the engine cannot start: another encoder may be the solution."""
        notice = self._workspace.learner.obstacle
        obstacle = "" if notice is None else notice_text(notice)
        if obstacle != self._obstacle:
            self.banner.dismiss(self._obstacle)
            if obstacle:
                self.banner.show_message(obstacle, Level.ERROR)
            self._obstacle = obstacle

    def _refresh(self) -> None:
        if self.isVisible():
            self.list.refresh()

    # Window

    def showEvent(self, event: QShowEvent) -> None:
        """Update the list and start timing the encoders."""
        super().showEvent(event)
        if not event.spontaneous():
            self.list.refresh()
            self._show_obstacle()
            self.list.timing.start()

    def changeEvent(self, event: QEvent) -> None:
        """Update the list when the window becomes active."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow():
            self._refresh()  # pre-training and the command line add encoders too

    def reject(self) -> None:
        """Handle Esc: close the page or the dialog, but do not stop an import."""
        if self._pages.currentWidget() is self.list:
            self.close()
        elif not self.importer.importing:
            self.importer.back.click()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop an import or a comparison."""
        for stopped, what in ((self.importer.stop(), "import"), (self.list.stop(), "comparison")):
            if stopped:
                text = f"The {what} was stopped because its dialog was closed."
                self._workspace.notice_raised.emit(Remark(text))
        self._pages.setCurrentWidget(self.list)
        self.banner.clear()
        self._obstacle = ""  # shown again when the dialog is opened again
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept one file, unless an import is running."""
        if len(event.mimeData().urls()) == 1 and not self.importer.importing:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Inspect the dropped file."""
        self.import_file(Path(event.mimeData().urls()[0].toLocalFile()))
