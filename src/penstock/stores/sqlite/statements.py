"""All SQL of the store, but for the tables themselves, which are in schema/. Values are always bound."""

from __future__ import annotations

COLUMNS = (
    "number, epoch, host, boot, pid, started, expires, status, updated, recoveries, rows, "
    "run_id, flow, created, parent, target, tags, about"
)

# Runs

ADD_RUN = f"INSERT INTO runs ({COLUMNS}, digest) VALUES ({', '.join('?' * 19)})"
NEXT_NUMBER = """
SELECT max(coalesce((SELECT max(number) FROM runs), 0),
           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0)) + 1
"""
FIND = f"SELECT {COLUMNS}, digest FROM runs WHERE run_id = ?"
RUN_OF_NUMBER = f"SELECT {COLUMNS}, digest FROM runs WHERE number = ?"
CHANGE_RUN = """
UPDATE runs SET epoch = ?, host = ?, boot = ?, pid = ?, started = ?, expires = ?, status = ?, updated = ?,
                recoveries = ?, rows = ?, digest = ?
WHERE number = ?
"""
DELETE_RUN = "DELETE FROM runs WHERE number = ?"
LIVE = "SELECT number FROM runs WHERE status IN ('running', 'pending')"
ALL_RUNS = f"SELECT {COLUMNS}, digest FROM runs ORDER BY number"
COUNT_RUNS = "SELECT count(*) FROM (SELECT 1 FROM runs LIMIT ?)"

_TAGGED = "EXISTS (SELECT 1 FROM tags WHERE tags.name = ? AND tags.value = ? AND tags.number = runs.number)"


def listing(tags: int, flow: bool, status: bool) -> str:
    """Runs, the newest first. To be bound: name and value of each tag, flow, status, `before`, and the limit.

    With tags, the first of them leads to the runs; otherwise an index of flow or status does.
    """
    columns = ", ".join(f"runs.{name}" for name in (COLUMNS + ", digest").split(", "))
    if tags:
        source, number = "tags AS first CROSS JOIN runs ON runs.number = first.number", "first.number"
        where = ["first.name = ?", "first.value = ?", *[_TAGGED] * (tags - 1)]
    else:
        source, number, where = "runs", "runs.number", []
    where += ["runs.flow = ?"] * flow + ["runs.status = ?"] * status + [f"{number} < ?"]
    return f"SELECT {columns} FROM {source} WHERE {' AND '.join(where)} ORDER BY {number} DESC LIMIT ?"


ADD_TAG = "INSERT INTO tags (name, value, number, digest) VALUES (?, ?, ?, ?)"
DELETE_TAGS = "DELETE FROM tags WHERE number = ?"
ALL_TAGS = "SELECT name, value, number, digest FROM tags"

# The journal

ADD_IF_CLAIMED = """
INSERT INTO journal (id, body, digest) SELECT ?, ?, ?
WHERE EXISTS (SELECT 1 FROM runs WHERE number = ? AND epoch = ? AND host IS NOT NULL)
"""
ADD_ROW = "INSERT INTO journal (id, body, digest) VALUES (?, ?, ?)"
ROWS = "SELECT id, body, digest FROM journal WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
LAST_ROW = "SELECT id FROM journal WHERE id > ? AND id < ? ORDER BY id DESC LIMIT 1"
DELETE_ROWS = "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE id > ? AND id < ? LIMIT ?)"
FIRST_AFTER = "SELECT id FROM journal WHERE id > ? ORDER BY id LIMIT 1"

# Values

ADD_USE = "INSERT OR IGNORE INTO used (number, value, digest) VALUES (?, ?, ?)"
USES_OF_RUN = "SELECT value FROM used WHERE number = ?"
IS_USED = "SELECT 1 FROM used WHERE value = ? LIMIT 1"
DELETE_USES = "DELETE FROM used WHERE number = ?"
ALL_USES = "SELECT number, value, digest FROM used"

# Letters

ADD_LETTER = "INSERT INTO letters (id, number, kind, node, body, at, digest) VALUES (?, ?, ?, ?, ?, ?, ?)"
NEXT_LETTER = """
SELECT max(coalesce((SELECT max(id) FROM letters), 0),
           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'letters'), 0)) + 1
"""
LETTERS = """
SELECT id, number, kind, node, body, at, digest FROM letters WHERE number = ? AND id > ? ORDER BY id
"""
DELETE_LETTER = "DELETE FROM letters WHERE id = ? AND number = ?"
DELETE_LETTERS = "DELETE FROM letters WHERE number = ?"
ALL_LETTERS = "SELECT id, number, kind, node, body, at, digest FROM letters ORDER BY id"

# Notes

ADD_NOTE = "INSERT INTO notes (id, kind, node, path, token, at, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
LAST_NOTE = "SELECT id FROM notes WHERE id > ? AND id < ? ORDER BY id DESC LIMIT 1"
DELETE_PROGRESS = "DELETE FROM notes WHERE kind = 'progress' AND path = ? AND id > ? AND id < ?"
DELETE_NOTES = "DELETE FROM notes WHERE id IN (SELECT id FROM notes WHERE id > ? AND id < ? LIMIT ?)"
FIRST_NOTE_AFTER = "SELECT id FROM notes WHERE id > ? ORDER BY id LIMIT 1"
ALL_NOTES = "SELECT id, kind, node, path, token, at, body, digest FROM notes ORDER BY id"


def some_notes(*, node: bool, kind: str | None) -> str:
    """Notes of a run, the oldest first. To be bound: the ids around them, node, kind, and the limit."""
    where = "id > ? AND id < ?" + " AND node = ?" * node + " AND kind = ?" * (kind is not None)
    if kind not in (None, "log"):
        where += " AND kind <> 'log'"  # so that the index of the others can be used
    return (
        f"SELECT id, kind, node, path, token, at, body, digest FROM notes WHERE {where} ORDER BY id LIMIT ?"
    )


# Runs that are being deleted

ADD_GRAVE = "INSERT OR IGNORE INTO graves (number, digest) VALUES (?, ?)"
GRAVES = "SELECT number, digest FROM graves"
DELETE_GRAVE = "DELETE FROM graves WHERE number = ?"

# The file

BEGIN = "BEGIN IMMEDIATE"
BEGIN_READING = "BEGIN"
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
VACUUM_INTO = "VACUUM INTO ?"
FOR_ALL = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA mmap_size = 0",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA temp_store = MEMORY",
)
FOR_READERS = "PRAGMA query_only = ON"
SMALL_PAGES = (
    "PRAGMA page_size = 2048"  # a commit of one row writes one page, mostly of what was there before
)
WAL = "PRAGMA journal_mode = WAL"
NO_WAL = "PRAGMA journal_mode = DELETE"
JOURNAL_MODE = "PRAGMA journal_mode"
EXCLUSIVE = "PRAGMA locking_mode = EXCLUSIVE"
SYNCHRONOUS = {"process": "PRAGMA synchronous = NORMAL", "power": "PRAGMA synchronous = FULL"}
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)"
DO_NOT_WAIT = "PRAGMA busy_timeout = 0"
USER_VERSION = "PRAGMA user_version"
APPLICATION_ID = "PRAGMA application_id"
INTEGRITY_CHECK = "PRAGMA integrity_check(20)"
CHECK_CATALOG = (
    "PRAGMA integrity_check('runs')",
    "PRAGMA integrity_check('tags')",
    "PRAGMA integrity_check('letters')",
)
PAGES = "PRAGMA page_count"


def wait(seconds: float) -> str:
    return f"PRAGMA busy_timeout = {max(0, int(seconds * 1000))}"


def set_version(version: int) -> str:
    return f"PRAGMA user_version = {version:d}"


def set_application(number: int) -> str:
    return f"PRAGMA application_id = {number:d}"
