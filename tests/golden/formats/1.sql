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
