-- A row of every table ends with a digest of its other columns. Columns that are often read come first.

CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, or a stale claim would fit another run
    epoch INTEGER NOT NULL,
    host TEXT, -- of the owner; NULL if nobody drives the run
    boot TEXT,
    pid INTEGER,
    started TEXT,
    expires REAL,
    status TEXT NOT NULL,
    updated REAL NOT NULL,
    recoveries INTEGER NOT NULL,
    rows INTEGER NOT NULL, -- that the journal has at least; exact once the run has ended
    run_id TEXT NOT NULL UNIQUE,
    flow TEXT NOT NULL,
    created REAL NOT NULL,
    parent TEXT, -- this and what follows are JSON
    target TEXT,
    tags TEXT NOT NULL,
    about TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;

CREATE INDEX runs_by_flow ON runs (flow);
CREATE INDEX runs_by_flow_and_status ON runs (flow, status);
CREATE INDEX runs_by_status ON runs (status);

CREATE TABLE tags ( -- of runs.tags, to be found by; both in JSON
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (name, value, number)
) STRICT;

CREATE INDEX tags_by_run ON tags (number);

CREATE TABLE journal (
    id INTEGER PRIMARY KEY, -- number of the run << 32 | number of the row
    body TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;

CREATE TABLE used (
    number INTEGER NOT NULL,
    value BLOB NOT NULL, -- digest of a large value
    digest BLOB NOT NULL,
    UNIQUE (number, value)
) STRICT;

CREATE INDEX used_by_value ON used (value);

CREATE TABLE letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    body TEXT NOT NULL,
    at REAL NOT NULL,
    digest BLOB NOT NULL
) STRICT;

CREATE INDEX letters_by_run ON letters (number);

CREATE TABLE graves ( -- runs that are forgotten, with rows that are still to be deleted
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL
) STRICT;
