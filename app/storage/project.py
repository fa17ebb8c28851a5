"""The project: one SQLite file with everything that a human drew and a head learned."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Cine, Frame
from app.domain.errors import ProjectError
from app.domain.labels import LEFT_HEART, LabelSet
from app.domain.provenance import Provenance, states_from_json
from app.domain.strokes import unpack_pixels
from app.storage import schema
from app.storage.annotation_tables import read_strokes, write_change
from app.storage.codec import label_set_from_json, label_set_to_json
from app.storage.connection import Connection
from app.storage.errors import damaged
from app.storage.filelock import FileLock
from app.storage.prediction_tables import delete_predictions, read_latest_head, write_head, write_predictions
from app.storage.records import Change, CineRecord, CineSummary, HeadRecord, Prediction
from vjepa_core.label_image import UNLABELLED


class Project:
    """An open project file, for this process alone; safe to use from several threads.

    Made by `create`, `open` or `open_or_create`. What a human draws goes through a connection that
    waits for the disk; what can be computed again goes through another that does not.

    Every method raises ProjectError, one sentence with a way out, where the disk refuses.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path = path
        self._lock = lock
        self._connect()

    def _connect(self) -> None:
        # Moving the log into the file is left to the other connection, so that no stroke pays for it.
        self._human = Connection(self._path, "FULL", timeout_s=0.25, checkpoint_pages=16_000)
        self._computed = Connection(self._path, "NORMAL", timeout_s=5.0, checkpoint_pages=1_000)

    @classmethod
    def create(cls, path: Path | str, label_set: LabelSet = LEFT_HEART) -> Project:
        """Make a new project file and open it; a file that is there already is refused."""
        path = Path(path).resolve()  # one file, one lock, whatever links lead to it
        lock = cls._lock_target(path)
        temporary = path.with_name(f".{path.name}.new")
        try:
            if path.exists():
                raise ProjectError(f"{path.name} exists already: open it, or choose another name.")
            temporary.unlink(missing_ok=True)
            schema.create(temporary, {"label_set": label_set_to_json(label_set)})
            temporary.replace(path)  # a project is whole or not there
            return cls(path, lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise ProjectError(
                    f"{path.name} cannot be made in {path.parent} ({error}): "
                    "free some space, or choose another folder."
                ) from error
            raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: Path | str) -> Project:
        """Open a project: checked page by page, migrated after a backup, restored after a crash.

        Raises
        ------
        ProjectError
            If the file is missing, foreign, damaged, made by a newer version, or open elsewhere; it is
            left untouched.
        """
        path = Path(path).resolve()
        schema.check_header(path)
        lock = FileLock(path)
        try:
            version = schema.check_contents(path)
            if version < len(schema.STEPS):
                schema.migrate(path, version)
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open_or_create(cls, path: Path | str) -> Project:
        """Open the project at `path`, or make it if nothing is there."""
        return cls.open(path) if Path(path).exists() else cls.create(path)

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        return self._path

    def close(self) -> None:
        """Fold the log into the file and give it free; calling twice does nothing."""
        self._human.close()
        self._computed.close()
        self._lock.release()

    def save_copy(self, path: Path | str) -> None:
        """Write all that is committed to another file, whole at once or not at all."""
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
        """Go on in another file, which gets all that is committed; the present one stays as it is.

        Everything that holds this object goes on working, in the new file.
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
        """Lock a file about to be written whole, in a folder that is made if it must."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(
                f"The folder {path.parent} cannot be made ({error.strerror}): choose another one."
            ) from error
        lock = FileLock(path)
        if path.with_name(path.name + "-wal").exists():
            # The log of a project that crashed would be taken for the new file's own.
            lock.release()
            raise ProjectError(f"{path.name}-wal, left by a crash, is in the way: choose another name.")
        return lock

    # Settings

    @property
    def label_set(self) -> LabelSet:
        """The structures that this project outlines."""
        try:
            return label_set_from_json(self._setting("label_set") or "")
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self._path) from error

    def set_label_set(self, label_set: LabelSet) -> None:
        """Replace the label set; a class that is drawn somewhere cannot go."""
        known = (0, *label_set.values, UNLABELLED)
        for record in self.cines():
            for frame, label in self.annotations(record.id).items():
                if not np.isin(label, known).all():
                    raise ProjectError(
                        f"{self._path.name} has a class drawn on frame {frame} of {record.path.name} that "
                        "the new label set lacks: erase it there first, or keep the class."
                    )
        self._set_setting(self._human, "label_set", label_set_to_json(label_set))

    def view(self) -> dict[str, Any]:
        """Return what `save_view` kept last; empty if nothing or nothing readable."""
        try:
            view = json.loads(self._setting("view") or "{}")
        except ValueError:
            return {}
        return view if isinstance(view, dict) else {}

    def save_view(self, view: Mapping[str, Any]) -> None:
        """Keep what the window shows (cine, frame, zoom, window/level, tool...), JSON values only."""
        self._set_setting(self._computed, "view", json.dumps(dict(view)))

    def _setting(self, key: str) -> str | None:
        rows = self._human.rows("SELECT value FROM settings WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    @staticmethod
    def _set_setting(connection: Connection, key: str, value: str) -> None:
        with connection.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    # Cines

    def add_cine(self, cine: Cine) -> CineRecord:
        """Refer to a cine; one that is known by its content keeps its record and gets its new path."""
        path = _stored(cine.path.absolute())
        row = (cine.uid, cine.content_hash, path, cine.n_frames, cine.height, cine.width)
        with self._human.transaction() as sql:
            sql.execute(
                "INSERT INTO cines (uid, content_hash, path, n_frames, height, width) "
                "VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (content_hash) DO UPDATE SET path = excluded.path, uid = excluded.uid",
                row,
            )
        return next(record for record in self.cines() if record.content_hash == cine.content_hash)

    def cines(self) -> list[CineRecord]:
        """Return the cines of the project in the order in which they came."""
        rows = self._human.rows(
            "SELECT id, uid, content_hash, path, n_frames, height, width FROM cines ORDER BY id"
        )
        return [CineRecord(row[0], row[1], row[2], _path(row[3]), *row[4:]) for row in rows]

    def summaries(self) -> list[CineSummary]:
        """Return the cines of the project with the numbers of their annotated and predicted frames."""
        rows = self._human.rows(
            "SELECT id, "
            "(SELECT count(*) FROM annotations WHERE cine_id = cines.id), "
            "(SELECT count(*) FROM predictions WHERE cine_id = cines.id) FROM cines"
        )
        counts = {row[0]: (row[1], row[2]) for row in rows}
        return [CineSummary(record, *counts[record.id]) for record in self.cines()]

    def _size(self, cine_id: int) -> tuple[int, int, int, int]:
        rows = self._human.rows(
            "SELECT n_frames, height, width, revision FROM cines WHERE id = ?", (cine_id,)
        )
        if not rows:
            raise KeyError(f"no cine {cine_id} in this project")
        n_frames, height, width, revision = rows[0]
        return n_frames, height, width, revision

    # What a human drew

    def annotations(self, cine_id: int) -> dict[int, Frame]:
        """Label image of every annotated frame, shape (height, width), uint8, read-only."""
        _, height, width, _ = self._size(cine_id)
        rows = self._human.rows(
            "SELECT frame, label FROM annotations WHERE cine_id = ? ORDER BY frame", (cine_id,)
        )
        return {frame: self._unpack(label, (height, width)) for frame, label in rows}

    def annotation_states(self, cine_id: int) -> dict[int, dict[int, Provenance]]:
        """Provenance of every stated structure (see `States`), by annotated frame."""
        rows = self._human.rows("SELECT frame, states FROM annotations WHERE cine_id = ?", (cine_id,))
        try:
            return {frame: states_from_json(text) for frame, text in rows}
        except ValueError as error:
            raise damaged(self._path) from error

    def layer(self, cine_id: int) -> AnnotationLayer:
        """Bring back a cine's annotations with their undo and redo history."""
        n_frames, height, width, revision = self._size(cine_id)
        done = read_strokes(self._human, cine_id, undone=False)
        undone = read_strokes(self._human, cine_id, undone=True)
        try:
            return AnnotationLayer(
                n_frames,
                height,
                width,
                labels=self.annotations(cine_id),
                states=self.annotation_states(cine_id),
                revision=revision,
                done=done,
                undone=undone,
            )
        except (ValueError, IndexError) as error:
            raise damaged(self._path) from error

    def commit(self, cine_id: int, change: Change) -> None:
        """Put one change on the disk, as one transaction; a change that is there already is passed over.

        Raises
        ------
        ValueError
            If changes before this one are missing.
        """
        with self._human.transaction() as sql:
            write_change(sql, cine_id, change)

    # What a head learned

    def save_head(self, head: HeadRecord) -> int:
        """Keep a head and return its id; older ones go unless a prediction still names them."""
        with self._computed.transaction() as sql:
            return write_head(sql, head)

    def latest_head(self) -> HeadRecord | None:
        """Return the head that was saved last, or None."""
        try:
            return read_latest_head(self._computed)
        except (ValueError, AttributeError) as error:
            raise damaged(self._path) from error

    def save_predictions(self, cine_id: int, predictions: Mapping[int, Prediction]) -> None:
        """Keep predictions by frame, replacing those of the same frames.

        Raises
        ------
        ValueError
            If a mask has another size than the cine, or a frame is beyond it.
        """
        n_frames, height, width, _ = self._size(cine_id)
        rows = []
        for frame, p in predictions.items():
            if p.shape != (height, width) or not 0 <= frame < n_frames:
                raise ValueError(f"prediction {p.shape} for frame {frame} does not fit the cine")
            rows.append((cine_id, frame, p.packed, p.confidence, p.revision, p.head_id))
        write_predictions(self._computed, rows)

    def forget_predictions(self, cine_id: int) -> None:
        """Keep no prediction of a cine any more."""
        delete_predictions(self._computed, cine_id)

    def predictions(self, cine_id: int) -> dict[int, Prediction]:
        """Return the predictions kept last, by frame."""
        _, height, width, _ = self._size(cine_id)
        rows = self._computed.rows(
            "SELECT frame, mask, confidence, revision, head_id FROM predictions "
            "WHERE cine_id = ? ORDER BY frame",
            (cine_id,),
        )
        return {row[0]: Prediction(row[1], (height, width), *row[2:]) for row in rows}

    def _unpack(self, packed: bytes, shape: tuple[int, int]) -> Frame:
        try:
            return unpack_pixels(packed, shape)
        except ValueError as error:
            raise damaged(self._path) from error


def _stored(path: Path) -> str:
    """An absolute path as text; as a URI where its name is not UTF-8, which SQLite refuses."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)


def _path(stored: str) -> Path:
    if not stored.startswith("file://"):
        return Path(stored)
    return Path(os.fsdecode(unquote_to_bytes(stored.removeprefix("file://"))))
