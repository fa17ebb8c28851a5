"""The project: one SQLite file with everything that humans annotated and heads predicted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.domain.labels import LEFT_HEART, LabelSet
from app.domain.prediction import Prediction
from app.domain.study import Study
from app.storage import schema
from app.storage.cine_index import CineIndex
from app.storage.cine_tables import CineTable, default_rater
from app.storage.connection import Connection
from app.storage.errors import damaged
from app.storage.filelock import FileLock
from app.storage.label_set_json import label_set_from_json, label_set_to_json
from app.storage.layer_tables import (
    find_layer,
    read_labels,
    read_layer,
    read_layers,
    write_change,
)
from app.storage.prediction_tables import (
    delete_predictions,
    read_latest_head,
    read_predictions,
    write_head,
    write_predictions,
)
from app.storage.raters import current_user
from app.storage.records import Change, CineRecord, CineSummary, HeadRecord, LayerRecord
from vjepa_core.atomic import replacing
from vjepa_core.label_image import UNLABELLED, LabelImage, values_mask


class Project:
    """An open project file, for this process alone; safe to use from several threads.

    Created by `create`, `open` or `open_or_create`. Annotations are written through a connection that waits
    for the disk; everything that can be computed or opened again is written through one that does not.

    The file holds no name, date, UID or path: cines are identified by hashes, and their paths are in the
    `CineIndex` of the user.

    Every method raises ProjectError, with a sentence for the user, if the file cannot be read or written.

    Attributes
    ----------
    backup : Path or None
        Copy of the file before `open` converted it from an older version; None if it was not converted.
    """

    backup: Path | None = None

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path = path
        self._lock = lock
        self._index = CineIndex.of_user()
        self._identity: tuple[str, str] | None = None  # identifier and salt, the same in every copy
        self._connect()

    def _connect(self) -> None:
        # The other connection moves the log into the file, so that no stroke is delayed by it.
        self._human = Connection(self._path, "FULL", timeout_s=0.25, checkpoint_pages=16_000)
        self._computed = Connection(self._path, "NORMAL", timeout_s=5.0, checkpoint_pages=1_000)

    @classmethod
    def create(cls, path: Path | str, label_set: LabelSet = LEFT_HEART) -> Project:
        """Create a project file and open it; ProjectError if the file exists."""
        path = Path(path).resolve()  # one file, one lock, whatever links lead to it
        lock = cls._lock_target(path)
        try:
            if path.exists():
                raise ProjectError(f"{path.name} exists already: open it, or choose another name.")
            with replacing(path, private=True) as temporary:
                schema.create(temporary, {"label_set": label_set_to_json(label_set)})
            return cls(path, lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise ProjectError(
                    f"{path.name} cannot be created in {path.parent} ({error}): "
                    "free some space, or choose another folder."
                ) from error
            raise

    @classmethod
    def open(cls, path: Path | str) -> Project:
        """Open a project: check every page, migrate it after a backup, recover it after a crash.

        Raises
        ------
        ProjectError
            If the file is missing, damaged, from another program or a newer version, or open elsewhere.
            The file is then unchanged.
        """
        path = Path(path).resolve()
        schema.check_header(path)
        lock = FileLock(path)
        try:
            version = schema.check_contents(path)
            is_older = version < len(schema.STEPS)
            if is_older:
                schema.migrate(path, version)
            project = cls(path, lock)
            project.backup = schema.backup_path(path, version) if is_older else None
            return project
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open_or_create(cls, path: Path | str) -> Project:
        """Open the project at `path`, or create it if the file does not exist."""
        return cls.open(path) if Path(path).exists() else cls.create(path)

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The project file."""
        return self._path

    def close(self) -> None:
        """Move the log into the file and release it; calling twice does nothing."""
        self._human.close()
        self._computed.close()
        self._lock.release()

    def save_copy(self, path: Path | str) -> None:
        """Write everything that is committed to another file, completely or not at all."""
        path = Path(path).resolve()
        if path == self._path or (path.exists() and path.samefile(self._path)):
            raise ProjectError(f"{path.name} is the open project itself: choose another name for the copy.")
        if path.exists() and not schema.is_project(path):
            raise ProjectError(f"{path.name} exists and is not an Apical project: choose another name.")
        lock = self._lock_target(path)
        try:
            schema.copy(self._path, path)
        finally:
            lock.release()

    def move_to(self, path: Path | str) -> None:
        """Continue in another file, a copy of everything that is committed; the old file is not changed.

        This object refers to the new file afterwards.
        """
        self.save_copy(path)
        moved = Project.open(path)
        old = (self._human, self._computed, self._lock)
        self._path, self._lock = moved._path, moved._lock
        self._human, self._computed = moved._human, moved._computed
        old[0].close()
        old[1].close()
        old[2].release()

    @staticmethod
    def _lock_target(path: Path) -> FileLock:
        """Lock a file that is about to be written, and create its folder if necessary."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(
                f"The folder {path.parent} cannot be created ({error.strerror}): choose another one."
            ) from error
        lock = FileLock(path)
        if path.with_name(path.name + "-wal").exists():
            # The log of a crashed project would be applied to the new file.
            lock.release()
            raise ProjectError(f"{path.name}-wal, left by a crash, is in the way: choose another name.")
        return lock

    # Settings

    @property
    def label_set(self) -> LabelSet:
        """Structures that are annotated in this project."""
        try:
            return label_set_from_json(self._setting("label_set") or "")
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self._path) from error

    def set_label_set(self, label_set: LabelSet) -> None:
        """Replace the label set; ProjectError if it lacks a structure that is drawn somewhere."""
        known = (0, *label_set.values, UNLABELLED)
        for record in self.cines():
            for layer in self.layers(record.id):
                for frame, label in self.annotations(record.id, layer.rater).items():
                    if not values_mask(label, known).all():
                        raise ProjectError(
                            f"{self._path.name} has a structure drawn on frame {frame} of {record.name} that "
                            "the new label set lacks: erase it there first, or keep the structure."
                        )
        self._set_setting(self._human, "label_set", label_set_to_json(label_set))

    @property
    def active_rater(self) -> str | None:
        """Rater whose layers are shown; None for the oldest layer of each cine."""
        return self._setting("active_rater")

    def set_active_rater(self, rater: str | None) -> None:
        """Choose whose layers are shown; a rater without a layer starts with an empty one."""
        if rater is None:
            with self._human.transaction() as sql:
                sql.execute("DELETE FROM settings WHERE key = 'active_rater'")
        else:
            self._set_setting(self._human, "active_rater", rater)

    def view_state(self) -> dict[str, Any]:
        """Return what `save_view_state` stored last; empty if there is nothing readable."""
        try:
            view = json.loads(self._setting("view") or "{}")
        except ValueError:
            return {}
        return view if isinstance(view, dict) else {}

    def save_view_state(self, view: Mapping[str, Any]) -> None:
        """Store the state of the window (cine, frame, zoom, window/level, tool...), JSON values only.

        It must not contain names of files or people.
        """
        self._set_setting(self._computed, "view", json.dumps(dict(view)))

    def result(self, name: str) -> Any:
        """Return a result stored by `save_result`; None if there is nothing readable."""
        try:
            return json.loads(self._setting(f"result.{name}") or "null")
        except ValueError:
            return None

    def save_result(self, name: str, value: Any) -> None:
        """Store a result that belongs to the project, for example of a comparison, as JSON."""
        self._set_setting(self._computed, f"result.{name}", json.dumps(value))

    def _setting(self, key: str) -> str | None:
        rows = self._human.rows("SELECT value FROM settings WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    @staticmethod
    def _set_setting(connection: Connection, key: str, value: str) -> None:
        with connection.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    # Cines

    def add_cine(self, cine: Cine) -> CineRecord:
        """Add a cine; one with known content keeps its record and gets the new path."""
        return self._cines.add(cine)

    def cines(self) -> list[CineRecord]:
        """Return the cines of the project in the order in which they were added."""
        return self._cines.all()

    def summaries(self) -> list[CineSummary]:
        """Return the cines with their counts of frames, without reading a label image."""
        return self._cines.summaries(self.active_rater)

    def studies(self) -> list[Study]:
        """Return the cines grouped by study, in the order in which they were added."""
        groups: dict[str | None, list[int]] = {}
        for record in self.cines():
            groups.setdefault(record.study_hash, []).append(record.id)
        return [Study(study, tuple(cine_ids)) for study, cine_ids in groups.items()]

    @property
    def _cines(self) -> CineTable:
        if self._identity is None:
            project_id, salt = self._setting("project_id"), self._setting("salt")
            if project_id is None or salt is None:
                raise damaged(self._path)
            self._identity = (project_id, salt)
        return CineTable(self._computed, self._index, *self._identity, self._path.parent)

    # Annotations

    def layers(self, cine_id: int) -> list[LayerRecord]:
        """Return the annotation layers of a cine, the oldest first."""
        return read_layers(self._human, cine_id)

    def rater_of(self, cine_id: int) -> str:
        """Return the rater whose layer of a cine is shown.

        This is the active rater. If none was chosen, it is the rater of the oldest layer of the cine or, if
        there is no layer, the user of this machine.
        """
        return self.active_rater or default_rater(self._human, cine_id) or current_user()

    def layer(self, cine_id: int, rater: str | None = None) -> AnnotationLayer:
        """Return a layer of a cine with its undo and redo history.

        Parameters
        ----------
        cine_id : int
        rater : str, optional
            Default `rater_of`. The layer is empty if nothing has been written to it yet.
        """
        try:
            return read_layer(self._human, self._cines.get(cine_id), rater or self.rater_of(cine_id))
        except (ValueError, IndexError) as error:
            raise damaged(self._path) from error

    def annotations(self, cine_id: int, rater: str | None = None) -> dict[int, LabelImage]:
        """Return the label images of a layer by annotated frame, (height, width) uint8, read-only."""
        record, layer_id = self._cines.get(cine_id), self._layer_id(cine_id, rater)
        try:
            return (
                {} if layer_id is None else read_labels(self._human, layer_id, (record.height, record.width))
            )
        except ValueError as error:
            raise damaged(self._path) from error

    def commit(self, cine_id: int, rater: str, change: Change) -> None:
        """Write one change of a layer to the disk as one transaction; one that is already written is skipped.

        Raises
        ------
        ValueError
            If changes before this one are missing.
        """
        with self._human.transaction() as sql:
            write_change(sql, cine_id, rater, change)

    def _layer_id(self, cine_id: int, rater: str | None) -> int | None:
        return find_layer(self._human, cine_id, rater or self.rater_of(cine_id))

    # Heads and predictions

    def save_head(self, head: HeadRecord) -> int:
        """Store a head and return its id; older ones that no prediction refers to are deleted."""
        with self._computed.transaction() as sql:
            return write_head(sql, head, self.active_rater or "")

    def latest_head(self) -> HeadRecord | None:
        """Return the head that was saved last for the active rater, or None."""
        try:
            return read_latest_head(self._computed, self.active_rater or "")
        except (ValueError, AttributeError) as error:
            raise damaged(self._path) from error

    def save_predictions(
        self, cine_id: int, predictions: Mapping[int, Prediction], rater: str | None = None
    ) -> None:
        """Store predictions by frame with the layer that the head was fitted to, replacing earlier ones.

        Raises
        ------
        ValueError
            If a mask has another size than the cine, or a frame is beyond it.
        """
        record = self._cines.get(cine_id)
        for frame, prediction in predictions.items():
            fits = prediction.shape == (record.height, record.width) and 0 <= frame < record.n_frames
            if not fits:
                raise ValueError(f"prediction {prediction.shape} for frame {frame} does not fit the cine")
        write_predictions(self._computed, cine_id, rater or self.rater_of(cine_id), predictions)

    def delete_predictions(self, cine_id: int, rater: str | None = None) -> None:
        """Delete the predictions that belong to a layer."""
        layer_id = self._layer_id(cine_id, rater)
        if layer_id is not None:
            delete_predictions(self._computed, layer_id)

    def predictions(self, cine_id: int, rater: str | None = None) -> dict[int, Prediction]:
        """Return the stored predictions that belong to a layer, by frame."""
        record, layer_id = self._cines.get(cine_id), self._layer_id(cine_id, rater)
        if layer_id is None:
            return {}
        return read_predictions(self._computed, layer_id, (record.height, record.width))
