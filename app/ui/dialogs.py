"""Non-modal dialogs of the main window: encoders, pre-training, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDialog, QWidget

from app.ui.actions import connect_actions
from app.ui.banner import Banner
from app.ui.encoders.dialog import EncodersDialog
from app.ui.keymap import Keymap
from app.ui.pretraining.dialog import PretrainingDialog
from app.ui.shortcut_sheet import ShortcutSheet
from app.workspace.notice import Level
from app.workspace.workspace import Workspace


class Dialogs:
    """Shows each dialog at most once; they stay open while the user works in the main window."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        keymap: Keymap,
        banner: Banner,
        actions: Mapping[str, QAction],
        parent: QWidget,
    ) -> None:
        self._workspace = workspace
        self._keymap = keymap
        self._banner = banner
        self._parent = parent
        connect_actions(
            actions,
            {
                "encoders": self.show_encoders,
                "pretrain": self.show_pretraining,
                "shortcuts": self.show_shortcuts,
                "about": self.show_about,
            },
        )

    def show_encoders(self) -> None:
        """Show the dialog to choose, compare and import encoders."""
        _raise(self._parent.findChild(EncodersDialog) or EncodersDialog(self._workspace, self._parent))

    def show_pretraining(self) -> None:
        """Show the dialog to pre-train an encoder on the user's cines."""
        _raise(self._parent.findChild(PretrainingDialog) or PretrainingDialog(self._workspace, self._parent))

    def show_shortcuts(self) -> None:
        """Show the list of keys."""
        _raise(self._parent.findChild(ShortcutSheet) or ShortcutSheet(self._keymap, self._parent))

    def show_about(self) -> None:
        """Show the purpose of the program and its limits."""
        self._banner.show_message(
            "Apical segments cardiac structures in echocardiography from a few outlined frames. Research use "
            "only: not a medical device, not for diagnosis. All data stays on this machine.",
            Level.INFO,
        )

    def close_all(self) -> None:
        """Close the dialogs that run background work; a pre-training run saves and ends by itself."""
        for kind in (PretrainingDialog, EncodersDialog):
            if dialog := self._parent.findChild(kind):
                dialog.close()


def _raise(dialog: QDialog) -> None:
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()
