"""The file of a journal: its tables, one writer at a time, and SQLite's errors in one line."""

import contextlib
import fcntl
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sqdr.deploy.braket.results import ResultError
from sqdr.errors import JournalError

__all__ = ["APPLICATION_ID", "SCHEMA", "SCHEMA_VERSION", "connect", "lock", "translated"]

APPLICATION_ID = 0x73716472  # "sqdr"
SCHEMA_VERSION = 1
BUSY_S = 10.0

SCHEMA = """
CREATE TABLE owner (model TEXT NOT NULL, created_at TEXT NOT NULL, salt TEXT NOT NULL, account_check TEXT);
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    request TEXT NOT NULL
);
CREATE TABLE tasks (
    task_id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs,
    token TEXT NOT NULL UNIQUE,
    device_arn TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT UNIQUE,
    status TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    n_shots INTEGER NOT NULL,
    cost_usd TEXT,
    billed_ms INTEGER,
    is_suspect INTEGER NOT NULL DEFAULT 0,
    intended_at TEXT NOT NULL,
    ended_at TEXT,
    action BLOB NOT NULL
);
CREATE TABLE circuits (
    task_id INTEGER NOT NULL REFERENCES tasks,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    sample_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    shots INTEGER NOT NULL,
    result TEXT,
    PRIMARY KEY (task_id, position)
);
CREATE INDEX circuits_by_key ON circuits (key);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal or to a new file, in WAL mode with full synchronisation.

    Raises:
        JournalError: the file is another program's; nothing in it is changed.
        sqlite3.Error: it is no database, or cannot be opened.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    try:
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if n_tables and application != APPLICATION_ID:  # before anything in it is changed
            raise JournalError(f"{path} is no journal of sqdr. Choose another --out or --journal.")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def lock(path: Path) -> IO[bytes]:
    """Return a locked file beside the journal; the system lets go of it when this process ends.

    Not the journal itself: a process that closes any handle of a database drops SQLite's own locks on it
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).

    Raises:
        JournalError: another process has it.
    """
    file = path.with_name(f"{path.name}-lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise JournalError(
            f"{path} is in use by another process. Wait until it has ended, or choose another --out or --journal."
        ) from None
    return file


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors and what a damaged table gives into one line."""
    fix = (
        "Keep the file: tasks that it names are paid for, and the Braket console lists them by the tag sqdr-token. "
        "Choose another --out to start anew."
    )
    try:
        yield
    except sqlite3.OperationalError as error:  # a disk that is full or cannot be written, a lock
        raise JournalError(
            f"{path} cannot be used: {error}. Check the disk, the rights and other processes."
        ) from error
    except (sqlite3.Error, ResultError, zlib.error) as error:
        raise JournalError(f"{path} is damaged ({' '.join(str(error).split())[:120]}). {fix}") from error
