"""The dialog of all encoders; it stays open beside the work, and what it starts never stops the window."""

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
    """Choose, compare, import and remove encoders, over a workspace."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.setWindowTitle("Encoders")
        self.setModal(False)
        self.setAcceptDrops(True)
        self.resize(1100, 680)
        self.banner = Banner()
        self.list, self.bring = ListPage(workspace), ImportPage()
        self._pages = QStackedWidget()
        self._pages.setContentsMargins(14, 12, 14, 12)
        for page in (self.list, self.bring):
            self._pages.addWidget(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self._pages, 1)
        self.list.import_wanted.connect(self.ask_for_file)
        self.list.trouble.connect(lambda text: self.banner.show_message(text, Level.ERROR))
        self.list.told.connect(self._tell)
        self.bring.another_wanted.connect(self.ask_for_file)
        self.bring.left.connect(self.show_list)
        self.bring.imported.connect(self._on_imported)
        self._obstacle = ""
        workspace.learner.progress.connect(self._tell_obstacle)
        workspace.learner.ready.connect(self._refresh)  # another encoder may be in use

    # The pages

    def show_list(self) -> None:
        """The table, as the encoders are now."""
        self._pages.setCurrentWidget(self.list)
        self._refresh()

    def ask_for_file(self) -> None:
        """Ask which file is to be imported."""
        dialog = QFileDialog(self, "Import an encoder", "", FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda name: self.import_file(Path(name)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def import_file(self, file: Path) -> None:
        """Show what a file holds, and offer to import it."""
        self.banner.clear()  # of other things
        self._pages.setCurrentWidget(self.bring)
        self.bring.look(file)

    def _on_imported(self, name: str) -> None:
        self._pages.setCurrentWidget(self.list)
        self.list.refresh(select=name)
        self._tell(f"{name} is imported: use it, or compare it first.")

    def _tell(self, text: str) -> None:
        self.banner.clear()  # what was told before is overtaken
        self.banner.show_message(text, Level.INFO)

    def _tell_obstacle(self) -> None:
        """Say here too why there is no engine: another encoder may be the way out."""
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
        super().showEvent(event)
        if not event.spontaneous():
            self.list.refresh()
            self._tell_obstacle()
            self.list.timing.start()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow():
            self._refresh()  # encoders come from elsewhere as well: pre-training, the command line

    def reject(self) -> None:
        """Esc: a page back, or closed; it ends no import."""
        if self._pages.currentWidget() is self.list:
            self.close()
        elif not self.bring.importing:
            self.bring.back.click()

    def closeEvent(self, event: QCloseEvent) -> None:
        for stopped, what in ((self.bring.stop(), "import"), (self.list.stop(), "comparison")):
            if stopped:
                text = f"The {what} was stopped with its dialog; nothing of it is left."
                self._workspace.notice_raised.emit(Remark(text))
        self._pages.setCurrentWidget(self.list)
        self.banner.clear()
        self._obstacle = ""  # said again when the dialog comes back
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if len(event.mimeData().urls()) == 1 and not self.bring.importing:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.import_file(Path(event.mimeData().urls()[0].toLocalFile()))
