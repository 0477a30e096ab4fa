-- Times are milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE sessions (
    id             TEXT    NOT NULL PRIMARY KEY,
    token_hash     BLOB    NOT NULL CHECK (length(token_hash) = 32),
    issuer         TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    provider       TEXT    NOT NULL,
    name           TEXT,
    email          TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    groups         TEXT    NOT NULL,
    -- What the client called its machine, and how the code came back to it: for people to read.
    device         TEXT,
    opened_by      TEXT    NOT NULL CHECK (opened_by IN ('browser', 'paste')),
    address        TEXT,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    last_used_at   INTEGER NOT NULL,
    ended_at       INTEGER,
    end_reason     TEXT,
    -- How often it was changed since it was opened; its end is the last change.
    revision       INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- Finds a user's sessions, oldest first.
CREATE INDEX sessions_by_user ON sessions (issuer, subject, created_at);
-- Finds a user's sessions by e-mail or by subject.
CREATE INDEX sessions_by_email ON sessions (email COLLATE NOCASE, created_at);
CREATE INDEX sessions_by_subject ON sessions (subject, created_at);
-- Finds all that must not come undone, without a look at the rest.
CREATE INDEX sessions_changed ON sessions (id, revision, ended_at) WHERE revision > 0;
-- Finds what is to be dropped.
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
-- Finds what is to be forgotten where addresses are not recorded any more.
CREATE INDEX sessions_with_address ON sessions (id) WHERE address IS NOT NULL;

-- What is read in the place of a session that is not there, so that both take the same time. No token has this hash.
INSERT INTO sessions (id, token_hash, issuer, subject, provider, name, email, email_verified, groups, device, opened_by,
    created_at, expires_at, last_used_at, ended_at, end_reason)
VALUES ('0000000000', zeroblob(32), '', '', '', 'Nobody of that name', 'nobody@nowhere.invalid', 1,
    '["nobody","engineering"]', 'no-machine', 'browser', 0, 253402207200000, 0, 0, 'expired');

-- Tokens of a session for one service each. They end with their session.
CREATE TABLE audience_tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    token_hash BLOB    NOT NULL CHECK (length(token_hash) = 32),
    session_id TEXT    NOT NULL,
    audience   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audience_tokens_by_session ON audience_tokens (session_id, expires_at);
CREATE INDEX audience_tokens_by_expiry ON audience_tokens (expires_at);

INSERT INTO audience_tokens (id, token_hash, session_id, audience, created_at, expires_at)
VALUES ('0000000000', zeroblob(32), '0000000000', 'https://nowhere.invalid', 0, 253402207200000);

-- Tickets that were used, until they could not be used any more.
CREATE TABLE consumed_tickets (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX consumed_tickets_by_expiry ON consumed_tickets (expires_at);

-- What providers can be asked with again, one for a session, until it was given back after the session's end.
CREATE TABLE refresh_tokens (
    session_id   TEXT    NOT NULL PRIMARY KEY,
    provider     TEXT    NOT NULL,
    -- Sealed.
    held         BLOB    NOT NULL,
    -- Grows with every change of `held`: who changes it must have seen the last one.
    version      INTEGER NOT NULL,
    -- When to ask; null once the session is known to be over.
    due_at       INTEGER,
    -- When to give it back: at the end of the session's lifetime, or as soon as it is known to be over.
    give_back_at INTEGER NOT NULL,
    -- Until then somebody is at it.
    leased_until INTEGER NOT NULL,
    -- How often it failed since it worked last.
    failures     INTEGER NOT NULL,
    -- Since when the provider may have used it up without an answer that was kept.
    lost_since   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_due ON refresh_tokens (provider, due_at);
CREATE INDEX refresh_tokens_by_return ON refresh_tokens (provider, give_back_at);
CREATE INDEX refresh_tokens_of_the_over ON refresh_tokens (provider, give_back_at) WHERE due_at IS NULL;

CREATE TABLE providers (
    name                    TEXT NOT NULL PRIMARY KEY,
    issuer                  TEXT NOT NULL,
    -- Who may sign in, as JSON: compared, never read.
    admission               TEXT NOT NULL,
    client_secret_reference BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Where the endpoints of a provider were found last.
CREATE TABLE provider_endpoints (
    provider     TEXT NOT NULL PRIMARY KEY,
    issuer       TEXT NOT NULL,
    -- JSON: the names of the endpoints, and their hosts.
    hosts        TEXT NOT NULL,
    -- When that changed last, and what it was before.
    changed_at   INTEGER,
    hosts_before TEXT,
    CHECK ((changed_at IS NULL) = (hosts_before IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    name        TEXT NOT NULL PRIMARY KEY,
    certificate BLOB NOT NULL,
    private_key BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How new all this is. `epoch` grows with every start and with every change of a session; it never falls. The digests are over
-- the state of all sessions, and over what must not come undone: changes and ends of sessions, used tickets, providers.
CREATE TABLE rollback_guard (
    only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    epoch       INTEGER NOT NULL,
    sessions    BLOB    NOT NULL CHECK (length(sessions) = 32),
    changes     BLOB    NOT NULL CHECK (length(changes) = 32),
    -- The latest time that was seen: nothing is judged by an earlier one.
    latest_time INTEGER NOT NULL
) STRICT;

INSERT INTO rollback_guard (only, epoch, sessions, changes, latest_time) VALUES (1, 0, zeroblob(32), zeroblob(32), 0);

-- Written to learn whether anything can be: as much as a login writes.
CREATE TABLE write_probe (
    only     INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    contents BLOB    NOT NULL
) STRICT;

INSERT INTO write_probe (only, contents) VALUES (1, x'');

-- Accounts at certification authorities, by the URL of their ACME directory.
CREATE TABLE acme_accounts (
    directory   TEXT NOT NULL PRIMARY KEY,
    credentials BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Orders that were begun and have brought no certificate. They count against the budget of failures.
CREATE TABLE acme_orders (
    id       INTEGER NOT NULL PRIMARY KEY,
    begun_at INTEGER NOT NULL
) STRICT;

-- When an order brought a certificate last, by the URL of the directory.
CREATE TABLE acme_successes (
    directory   TEXT    NOT NULL PRIMARY KEY,
    obtained_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Until when the authority asked to be left alone.
CREATE TABLE acme_pause (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    until INTEGER NOT NULL
) STRICT;

-- What the certification authority announces, as JSON, with its number, at least the time in seconds when it was said: a
-- restored backup goes on above what was announced before. And when the next authority takes over, where
-- there is one.
CREATE TABLE succession (
    only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    sequence    INTEGER NOT NULL,
    announced   TEXT    NOT NULL,
    takeover_at INTEGER
) STRICT;

INSERT INTO succession (only, sequence, announced, takeover_at) VALUES (1, 0, '', NULL);
