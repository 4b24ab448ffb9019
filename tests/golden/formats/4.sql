CREATE TABLE runs (
             number INTEGER PRIMARY KEY,
             id TEXT NOT NULL UNIQUE,
             workflow TEXT NOT NULL,
             created_at_ms INTEGER NOT NULL,
             -- What follows is filled in when the run ends.
             ended_at_ms INTEGER,
             verdict TEXT,
             events INTEGER,
             hash BLOB,
             counts TEXT
         );
         CREATE TABLE events (
             place INTEGER PRIMARY KEY,
             codec INTEGER NOT NULL,
             hash BLOB NOT NULL,
             body BLOB NOT NULL
         );
         CREATE TABLE uses (
             run INTEGER NOT NULL REFERENCES runs (number),
             artifact TEXT NOT NULL,
             PRIMARY KEY (run, artifact)
         ) WITHOUT ROWID;
         CREATE TABLE requests (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             run INTEGER NOT NULL REFERENCES runs (number),
             at_ms INTEGER NOT NULL,
             actor TEXT NOT NULL,
             request TEXT NOT NULL
         );
         CREATE INDEX requests_of_run ON requests (run);
         CREATE TABLE known (
             key TEXT PRIMARY KEY,
             -- With this run it is dropped: the last one that used it.
             run INTEGER NOT NULL REFERENCES runs (number),
             -- The run that did it.
             origin TEXT NOT NULL,
             at_ms INTEGER NOT NULL,
             wall_us INTEGER NOT NULL,
             value TEXT,
             logs TEXT,
             outputs TEXT NOT NULL
         ) WITHOUT ROWID;
         CREATE INDEX known_of_run ON known (run);
         ALTER TABLE runs ADD COLUMN seal BLOB;
         ALTER TABLE known ADD COLUMN seal BLOB;
         CREATE TABLE imported (
             run INTEGER PRIMARY KEY REFERENCES runs (number),
             at_ms INTEGER NOT NULL,
             actor TEXT NOT NULL
         );
