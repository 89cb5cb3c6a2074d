-- What is kept with runs beside their journals: what steps say, and what they use.

CREATE TABLE notes (
    id INTEGER PRIMARY KEY, -- number of the run << 32 | number of the note; never given twice in a run
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    path TEXT NOT NULL,
    token INTEGER NOT NULL,
    at REAL NOT NULL,
    body TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;

CREATE INDEX notes_by_node ON notes (node); -- and by id, as every index ends with it
CREATE INDEX notes_by_kind ON notes (kind) WHERE kind <> 'log'; -- there are few of the others
CREATE INDEX notes_of_progress ON notes (path) WHERE kind = 'progress'; -- one of each path
