-- From where a source that sends through channels lists what has changed since it was last looked at.

CREATE TABLE change_marks (
    subscription TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    mark TEXT NOT NULL,
    read_at BIGINT NOT NULL
);
