"""Tables of the project file, and the steps from one version to the next."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from app.domain.errors import ProjectError
from app.storage.errors import damaged, project_error
from app.storage.layers_migration import add_layers, remove_identities
from app.storage.states_migration import add_states
from vjepa_core.atomic import replacing

APPLICATION_ID = 0x41504943  # "APIC", in the file's header

# STEPS[n] leads from version n to n + 1; an empty file is version 0. Published steps never change.
# Label images are zlib-compressed uint8 rows, of the size of their cine.
STEPS: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...] = (
    (
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """CREATE TABLE cines (
            id INTEGER PRIMARY KEY,
            uid TEXT NOT NULL,
            content_hash TEXT NOT NULL UNIQUE,
            path TEXT NOT NULL,
            n_frames INTEGER NOT NULL,
            height INTEGER NOT NULL,
            width INTEGER NOT NULL,
            revision INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        """CREATE TABLE strokes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            cine_id INTEGER NOT NULL REFERENCES cines (id),
            frame INTEGER NOT NULL,
            y0 INTEGER NOT NULL,
            x0 INTEGER NOT NULL,
            height INTEGER NOT NULL,
            width INTEGER NOT NULL,
            before BLOB NOT NULL,
            after BLOB NOT NULL,
            kind TEXT NOT NULL,
            rater TEXT NOT NULL,
            undone INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX strokes_by_state ON strokes (cine_id, undone, id)",
        """CREATE TABLE annotations (
            cine_id INTEGER NOT NULL REFERENCES cines (id),
            frame INTEGER NOT NULL,
            label BLOB NOT NULL,
            rater TEXT NOT NULL,
            revision INTEGER NOT NULL,
            PRIMARY KEY (cine_id, frame)
        ) STRICT""",
        """CREATE TABLE heads (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            blob BLOB NOT NULL,
            encoder TEXT NOT NULL,
            encoder_checksum TEXT NOT NULL,
            label_set TEXT NOT NULL,
            revisions TEXT NOT NULL,
            created TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE predictions (
            cine_id INTEGER NOT NULL REFERENCES cines (id),
            frame INTEGER NOT NULL,
            mask BLOB NOT NULL,
            confidence REAL NOT NULL,
            revision INTEGER NOT NULL,
            head_id INTEGER REFERENCES heads (id),
            PRIMARY KEY (cine_id, frame)
        ) STRICT""",
    ),
    (
        # JSON objects: state ("drawn", "accepted") by structure value.
        "ALTER TABLE annotations ADD COLUMN states TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE strokes ADD COLUMN states_before TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE strokes ADD COLUMN states_after TEXT NOT NULL DEFAULT '{}'",
        add_states,
    ),
    (
        # One layer per cine and rater; edits are strokes and changes of facts in one order.
        """CREATE TABLE layers (
            id INTEGER PRIMARY KEY,
            cine_id INTEGER NOT NULL REFERENCES cines (id),
            rater TEXT NOT NULL,
            revision INTEGER NOT NULL DEFAULT 0,
            sequence INTEGER NOT NULL DEFAULT 0,
            UNIQUE (cine_id, rater)
        ) STRICT""",
        # For a fact, `before` and `after` are JSON, or NULL if it is not set; the box is not used.
        """CREATE TABLE edits (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            layer_id INTEGER NOT NULL REFERENCES layers (id),
            frame INTEGER,
            y0 INTEGER NOT NULL DEFAULT 0,
            x0 INTEGER NOT NULL DEFAULT 0,
            height INTEGER NOT NULL DEFAULT 0,
            width INTEGER NOT NULL DEFAULT 0,
            before BLOB,
            after BLOB,
            kind TEXT NOT NULL,
            rater TEXT NOT NULL,
            states_before TEXT NOT NULL DEFAULT '{}',
            states_after TEXT NOT NULL DEFAULT '{}',
            undone INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX edits_by_state ON edits (layer_id, undone, id)",
        # Frame -1 stands for the whole cine; for a calibration it is the index of the region.
        """CREATE TABLE facts (
            layer_id INTEGER NOT NULL REFERENCES layers (id),
            kind TEXT NOT NULL,
            frame INTEGER NOT NULL,
            value TEXT NOT NULL,
            rater TEXT NOT NULL,
            PRIMARY KEY (layer_id, kind, frame)
        ) STRICT""",
        "ALTER TABLE annotations RENAME TO annotations_2",
        """CREATE TABLE annotations (
            layer_id INTEGER NOT NULL REFERENCES layers (id),
            frame INTEGER NOT NULL,
            label BLOB NOT NULL,
            rater TEXT NOT NULL,
            revision INTEGER NOT NULL,
            states TEXT NOT NULL DEFAULT '{}',
            PRIMARY KEY (layer_id, frame)
        ) STRICT""",
        "ALTER TABLE predictions RENAME TO predictions_2",
        """CREATE TABLE predictions (
            layer_id INTEGER NOT NULL REFERENCES layers (id),
            frame INTEGER NOT NULL,
            mask BLOB NOT NULL,
            confidence REAL NOT NULL,
            revision INTEGER NOT NULL,
            head_id INTEGER REFERENCES heads (id),
            PRIMARY KEY (layer_id, frame)
        ) STRICT""",
        "ALTER TABLE heads ADD COLUMN rater TEXT NOT NULL DEFAULT ''",
        # Salted hashes of a StudyInstanceUID and of a path relative to the project.
        "ALTER TABLE cines ADD COLUMN study_hash TEXT",
        "ALTER TABLE cines ADD COLUMN location_hash TEXT",
        # The comparison of encoders was part of the view state.
        """INSERT INTO settings SELECT 'result.encoder_comparison', compared FROM (
            SELECT CASE WHEN json_valid(value) THEN json_extract(value, '$.compared') END AS compared
            FROM settings WHERE key = 'view'
        ) WHERE compared IS NOT NULL""",
        "UPDATE settings SET value = json_remove(value, '$.compared') "
        "WHERE key = 'view' AND json_valid(value)",
        add_layers,
        remove_identities,
        "DROP TABLE strokes",
        "DROP TABLE annotations_2",
        "DROP TABLE predictions_2",
        "ALTER TABLE cines DROP COLUMN uid",
        "ALTER TABLE cines DROP COLUMN path",
        "ALTER TABLE cines DROP COLUMN revision",
    ),
    (
        # JSON object: expected Dice by structure value.
        "ALTER TABLE predictions ADD COLUMN structure_dice TEXT NOT NULL DEFAULT '{}'",
    ),
)


def create(path: Path, settings: Mapping[str, str]) -> None:
    """Write an empty project of the newest version to a new or empty file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _step_up(connection, 0)
        connection.executemany("INSERT INTO settings (key, value) VALUES (?, ?)", settings.items())
        connection.execute("COMMIT")
        connection.execute("VACUUM")  # the steps leave free pages


def check_header(path: Path) -> None:
    """Check by its first 100 bytes that a file is a project, without opening it as a database.

    Raises
    ------
    ProjectError
        If the file is missing, unreadable, truncated, of another program or of a newer version.

    References
    ----------
    SQLite, Database File Format, section 1.3.
    """
    if not path.exists():
        raise ProjectError(f"There is no project at {path}: check the name, or create a new project.")
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise ProjectError(
            f"{path.name} cannot be read ({error.strerror}): check that it is a file you may read."
        ) from error
    foreign = ProjectError(f"{path.name} is not an Apical project: choose a file written by Apical.")
    if not header.startswith(b"SQLite format 3\0"):
        raise foreign
    if len(header) < 100:
        raise damaged(path)
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise foreign
    _check_version(path, int.from_bytes(header[60:64], "big"))


def is_project(path: Path) -> bool:
    """Return True if the header is that of a project that this version can read."""
    try:
        check_header(path)
    except ProjectError:
        return False
    return True


def check_contents(path: Path) -> int:
    """Read every page once and return the schema version, without writing.

    Raises
    ------
    ProjectError
        If the file is damaged or of a newer version.
    """
    log = path.with_name(path.name + "-wal")
    # Without a log to read, `immutable` keeps SQLite from creating its side files.
    options = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True)
        ) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            _check_version(path, version)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise project_error(path, error) from error
    if verdict != "ok" or version < 1:
        raise damaged(path)
    return int(version)


def backup_path(path: Path, version: int) -> Path:
    """Return the path of the copy that is stored before a project is migrated."""
    return path.with_name(f"{path.stem}.backup-v{version}{path.suffix}")


def migrate(path: Path, version: int) -> None:
    """Migrate a project from `version` to the newest one, after a backup beside it; all steps or none.

    Raises
    ------
    ProjectError
        If the backup or a step fails; the project is then unchanged.
    """
    backup = backup_path(path, version)
    copy(path, backup)
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # nothing removed stays in free pages
            connection.execute("BEGIN IMMEDIATE")
            _step_up(connection, version)
            connection.execute("COMMIT")
            with contextlib.suppress(sqlite3.Error):  # the project is migrated: this only tidies up
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(OSError):  # a file of another user
            path.chmod(0o600)
    except sqlite3.Error as error:
        raise ProjectError(
            f"{path.name} could not be converted to this version of Apical and is unchanged "
            f"(backup: {backup.name}): {_lower_first(str(project_error(path, error)))}"
        ) from error


def copy(source: Path, target: Path) -> None:
    """Copy a project, open or not; `target` is written completely or not at all.

    Raises
    ------
    ProjectError
        If the source cannot be read or the target not written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(target, private=True) as temporary,
            contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reader,
            contextlib.closing(sqlite3.connect(temporary)) as writer,
        ):
            reader.backup(writer)
    except sqlite3.Error as error:
        broken = getattr(error, "sqlite_errorcode", 0) & 0xFF in (
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        )
        raise project_error(source if broken else target, error) from error
    except OSError as error:
        raise ProjectError(
            f"{target} cannot be written ({error.strerror or error}): choose another folder."
        ) from error


def _step_up(connection: sqlite3.Connection, version: int) -> None:
    for statements in STEPS[version:]:
        for statement in statements:
            if callable(statement):
                statement(connection)
            else:
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def _check_version(path: Path, version: int) -> None:
    if version > len(STEPS):
        raise ProjectError(
            f"{path.name} was written by a newer version of Apical: install that version to open it."
        )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
