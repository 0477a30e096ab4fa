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
    -- The client's name for its machine and how the login code reached it, for people to read.
    device         TEXT,
    login_method      TEXT    NOT NULL CHECK (login_method IN ('browser', 'paste')),
    address        TEXT,
    -- The session that delegated this one, to which audiences (JSON), and for what. Null for a session of a login.
    parent_id      TEXT,
    audiences      TEXT,
    label          TEXT,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    last_used_at   INTEGER NOT NULL,
    ended_at       INTEGER,
    end_reason     TEXT,
    -- The number of changes since the session was opened. Its end is the last change.
    revision       INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CHECK ((parent_id IS NULL) = (audiences IS NULL) AND (parent_id IS NULL) = (label IS NULL))
) STRICT, WITHOUT ROWID;

-- Finds a user's sessions by age.
CREATE INDEX sessions_by_user ON sessions (issuer, subject, created_at);
-- Finds a user's sessions by email or by subject.
CREATE INDEX sessions_by_email ON sessions (email COLLATE NOCASE, created_at);
CREATE INDEX sessions_by_subject ON sessions (subject, created_at);
-- Finds changed and ended sessions without reading the others.
CREATE INDEX sessions_changed ON sessions (id, revision, ended_at) WHERE revision > 0;
-- Finds the sessions that one delegated.
CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;
-- Finds expired sessions.
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
-- Finds addresses to delete when the configuration no longer records them.
CREATE INDEX sessions_with_address ON sessions (id) WHERE address IS NOT NULL;

-- The dummy row: read if a session does not exist, so that timing reveals nothing. No token has this hash.
INSERT INTO sessions (id, token_hash, issuer, subject, provider, name, email, email_verified, groups, device, login_method,
    created_at, expires_at, last_used_at, ended_at, end_reason)
VALUES ('0000000000', zeroblob(32), '', '', '', 'Nobody of that name', 'nobody@nowhere.invalid', 1,
    '["nobody","engineering"]', 'no-machine', 'browser', 0, 253402207200000, 0, 0, 'expired');

-- Audience tokens. They end with their session.
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

-- Used login tickets, kept until they expire.
CREATE TABLE consumed_tickets (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX consumed_tickets_by_expiry ON consumed_tickets (expires_at);

-- Refresh tokens, one per session, kept until they are revoked at the provider after the session's end.
CREATE TABLE refresh_tokens (
    session_id   TEXT    NOT NULL PRIMARY KEY,
    provider     TEXT    NOT NULL,
    sealed_grant BLOB    NOT NULL,
    -- Grows with every change of `sealed_grant`, for compare-and-set.
    version      INTEGER NOT NULL,
    -- When to revalidate; null once the session is known to have ended.
    due_at       INTEGER,
    -- When to revoke it at the provider: when the session expires, or at once if it ended early.
    revoke_after INTEGER NOT NULL,
    -- The end of the current lease.
    leased_until INTEGER NOT NULL,
    -- Failures since the last success.
    failures     INTEGER NOT NULL,
    -- Since when a request without a stored response may have consumed it.
    lost_since   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_due ON refresh_tokens (provider, due_at);
CREATE INDEX refresh_tokens_by_revocation ON refresh_tokens (provider, revoke_after);
CREATE INDEX refresh_tokens_of_ended ON refresh_tokens (provider, revoke_after) WHERE due_at IS NULL;

CREATE TABLE providers (
    name                    TEXT NOT NULL PRIMARY KEY,
    issuer                  TEXT NOT NULL,
    -- The sign-in policy as JSON, for comparison only.
    admission               TEXT NOT NULL,
    client_secret_reference BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The last known hosts of the providers' endpoints.
CREATE TABLE provider_endpoints (
    provider     TEXT NOT NULL PRIMARY KEY,
    issuer       TEXT NOT NULL,
    -- JSON: hosts by endpoint name.
    hosts        TEXT NOT NULL,
    -- When the hosts last changed, and the hosts before.
    changed_at   INTEGER,
    hosts_before TEXT,
    CHECK ((changed_at IS NULL) = (hosts_before IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    name        TEXT NOT NULL PRIMARY KEY,
    certificate BLOB NOT NULL,
    private_key BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The rollback guard. `counter` grows with every start and every change of a session, and never falls. `sessions` is the digest of
-- all session states. `changes` is the digest of changed and ended sessions, used tickets and providers.
CREATE TABLE rollback_guard (
    only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    counter     INTEGER NOT NULL,
    sessions    BLOB    NOT NULL CHECK (length(sessions) = 32),
    changes     BLOB    NOT NULL CHECK (length(changes) = 32),
    -- The latest time seen. Expiry never uses an earlier one.
    latest_time INTEGER NOT NULL
) STRICT;

INSERT INTO rollback_guard (only, counter, sessions, changes, latest_time) VALUES (1, 0, zeroblob(32), zeroblob(32), 0);

-- Written to test whether the store can be written. At least as large as a login's writes.
CREATE TABLE write_probe (
    only     INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    contents BLOB    NOT NULL
) STRICT;

INSERT INTO write_probe (only, contents) VALUES (1, x'');

-- ACME accounts by directory URL.
CREATE TABLE acme_accounts (
    directory   TEXT NOT NULL PRIMARY KEY,
    credentials BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Orders that were started and have issued no certificate. They count as failures.
CREATE TABLE acme_orders (
    id       INTEGER NOT NULL PRIMARY KEY,
    begun_at INTEGER NOT NULL
) STRICT;

-- When each directory last issued a certificate.
CREATE TABLE acme_successes (
    directory   TEXT    NOT NULL PRIMARY KEY,
    obtained_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The pause that the authority asked for.
CREATE TABLE acme_pause (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    until INTEGER NOT NULL
) STRICT;

-- The SHA-256 of the daemon CA's current announcement, empty until the first one, and its sequence number. The number is at
-- least the time of the change in seconds, so a restored backup does not reuse one. `takeover_at` is when the next CA takes
-- over, if any.
CREATE TABLE ca_rollover (
    only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    sequence    INTEGER NOT NULL,
    announced   TEXT    NOT NULL,
    takeover_at INTEGER
) STRICT;

INSERT INTO ca_rollover (only, sequence, announced, takeover_at) VALUES (1, 0, '', NULL);
