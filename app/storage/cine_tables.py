"""The table of the cines that a project refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.cine import Cine
from app.domain.study import salted_hash
from app.storage.cine_index import CineIndex
from app.storage.connection import Connection
from app.storage.records import CineRecord, CineSummary, Location

_COLUMNS = "id, content_hash, n_frames, height, width, study_hash, location_hash"


@dataclass(frozen=True)
class CineTable:
    """Cines of one project, with their paths from the user's index.

    Parameters
    ----------
    connection : Connection
        One that does not wait for the disk: a lost row is added again when the cine is opened.
    index : CineIndex
    project_id, salt : str
        Random texts of the project.
    folder : Path
        Folder of the project.
    """

    connection: Connection
    index: CineIndex
    project_id: str
    salt: str
    folder: Path

    def add(self, cine: Cine) -> CineRecord:
        """Insert a cine, or return the record of a known one; nothing is written if nothing changed."""
        path = cine.path.absolute()
        study = salted_hash(self.salt, cine.study_uid) if cine.study_uid else None
        location = Location.hash(self.salt, self.folder, path)
        known = self._row(cine.content_hash)
        if known is None:
            with self.connection.transaction() as sql:
                sql.execute(
                    "INSERT OR IGNORE INTO cines "
                    "(content_hash, n_frames, height, width, study_hash, location_hash) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (cine.content_hash, cine.n_frames, cine.height, cine.width, study, location),
                )
        elif known[5:] != (study or known[5], location or known[6]):
            with self.connection.transaction() as sql:
                sql.execute(
                    "UPDATE cines SET study_hash = coalesce(?, study_hash), "
                    "location_hash = coalesce(?, location_hash) WHERE content_hash = ?",
                    (study, location, cine.content_hash),
                )
        if self.index.path(self.project_id, self.folder, cine.content_hash) != path:
            self.index.store(self.project_id, self.folder, {cine.content_hash: path})
        row = self._row(cine.content_hash)
        assert row is not None  # noqa: S101 - inserted just before
        return self._record(row, {cine.content_hash: path})

    def all(self) -> list[CineRecord]:
        """Return all cines in the order in which they were added."""
        rows = self.connection.rows(f"SELECT {_COLUMNS} FROM cines ORDER BY id")  # noqa: S608 - a constant
        paths = self.index.paths(self.project_id, self.folder)
        return [self._record(row, paths) for row in rows]

    def get(self, cine_id: int) -> CineRecord:
        """Return one cine, without its path; KeyError if the project has no such cine."""
        rows = self.connection.rows(f"SELECT {_COLUMNS} FROM cines WHERE id = ?", (cine_id,))  # noqa: S608
        if not rows:
            raise KeyError(f"no cine {cine_id} in this project")
        return self._record(rows[0], {})

    def summaries(self, active_rater: str | None) -> list[CineSummary]:
        """Return all cines with counts of frames, without reading a label image.

        Parameters
        ----------
        active_rater : str or None
            Rater whose layers are counted; None for the oldest layer of each cine.
        """
        counts = {
            row[0]: row[1:]
            for row in self.connection.rows(
                "SELECT cine_id, (SELECT count(*) FROM annotations WHERE layer_id = layers.id), "
                "(SELECT count(*) FROM predictions WHERE layer_id = layers.id) FROM layers "
                "WHERE rater = ?1 OR (?1 IS NULL AND id IN (SELECT min(id) FROM layers GROUP BY cine_id))",
                (active_rater,),
            )
        }
        return [CineSummary(record, *counts.get(record.id, (0, 0))) for record in self.all()]

    def _row(self, content_hash: str) -> tuple[Any, ...] | None:
        rows = self.connection.rows(
            f"SELECT {_COLUMNS} FROM cines WHERE content_hash = ?",  # noqa: S608
            (content_hash,),
        )
        return rows[0] if rows else None

    def _record(self, row: tuple[Any, ...], paths: Mapping[str, Path]) -> CineRecord:
        cine_id, content_hash, n_frames, height, width, study, location = row
        return CineRecord(
            cine_id, content_hash, n_frames, height, width,
            path=paths.get(str(content_hash)),
            study_hash=study,
            location=None if location is None else Location(self.folder, self.salt, str(location)),
        )  # fmt: skip


def default_rater(connection: Connection, cine_id: int) -> str | None:
    """Return the rater of the oldest layer of a cine; None if it has none."""
    rows = connection.rows("SELECT rater FROM layers WHERE cine_id = ? ORDER BY id LIMIT 1", (cine_id,))
    return str(rows[0][0]) if rows else None
