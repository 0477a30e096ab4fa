-- Times are milliseconds since 1970-01-01T00:00:00Z by the clock of a daemon, except in columns of type timestamptz, which
-- hold the clock of the database.
--
-- In clear: ids, times, counts and key versions. `..._mac` and `..._key` are HMACs. `sealed` is encrypted, and bound to the
-- table, the id and the columns that RowPlace names. Names, addresses and tokens are in `sealed` only.

-- The store, its schema, and the version of the data key that new rows are sealed with.
CREATE TABLE store (
    singleton        smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    id               text     NOT NULL,
    data_key_version integer  NOT NULL CHECK (data_key_version > 0),
    created_at       bigint   NOT NULL,
    -- Daemons use the store only while it is `ready`. `filling`: a copy into it is unfinished. `moving`: a copy of it into a file
    -- is unfinished. `moved`: the file is in use.
    state            text     NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'filling', 'moving', 'moved')),
    -- The copy that fills it, or the file that it moves to.
    copy             text
);

-- The keys, each wrapped by the root key. Kind `data`: versions of the data key. Kind `index`: the key of keyed columns.
CREATE TABLE keys (
    kind       text    NOT NULL CHECK (kind IN ('data', 'index')),
    version    integer NOT NULL CHECK (version > 0),
    -- The id of the root key that wraps it.
    root_key   text    NOT NULL,
    wrapped    bytea   NOT NULL,
    -- A MAC under the key over kind, version and store.
    check_mac  bytea   NOT NULL CHECK (octet_length(check_mac) = 32),
    created_at bigint  NOT NULL,
    PRIMARY KEY (kind, version)
);

CREATE TABLE sessions (
    id           text    COLLATE "C" NOT NULL PRIMARY KEY,
    token_mac    bytea   NOT NULL CHECK (octet_length(token_mac) = 32),
    user_key     bytea   NOT NULL CHECK (octet_length(user_key) = 32),
    -- Finds sessions by subject or by e-mail address, for operators.
    subject_key  bytea   NOT NULL CHECK (octet_length(subject_key) = 32),
    email_key    bytea   CHECK (octet_length(email_key) = 32),
    key_version  integer NOT NULL,
    -- The token hash, the user, the client and its address, and by which session and to which audiences it was delegated.
    sealed       bytea   NOT NULL,
    has_address  boolean NOT NULL,
    -- The session that delegated this one, as in the seal. Null for a session of a login.
    parent_id    text    COLLATE "C",
    created_at   bigint  NOT NULL,
    expires_at   bigint  NOT NULL,
    last_used_at bigint  NOT NULL,
    ended_at     bigint,
    end_reason   text    COLLATE "C",
    -- The number of changes since the session was opened. Its end is the last change.
    revision     integer NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
)
-- Room on each page, so that uses and ends of sessions update no index.
WITH (fillfactor = 80);

CREATE INDEX sessions_by_user ON sessions (user_key, created_at);
CREATE INDEX sessions_by_subject ON sessions (subject_key, created_at);
CREATE INDEX sessions_by_email ON sessions (email_key, created_at) WHERE email_key IS NOT NULL;
-- Finds the sessions that one delegated.
CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
-- Finds addresses to delete when the configuration no longer records them.
CREATE INDEX sessions_with_address ON sessions (id) WHERE has_address;

-- Audience tokens. They end with their session.
CREATE TABLE audience_tokens (
    id          text    COLLATE "C" NOT NULL PRIMARY KEY,
    token_mac   bytea   NOT NULL CHECK (octet_length(token_mac) = 32),
    session_id  text    COLLATE "C" NOT NULL,
    key_version integer NOT NULL,
    -- The token hash and the audience.
    sealed      bytea   NOT NULL,
    created_at  bigint  NOT NULL,
    expires_at  bigint  NOT NULL
);

CREATE INDEX audience_tokens_by_session ON audience_tokens (session_id, expires_at);
CREATE INDEX audience_tokens_by_expiry ON audience_tokens (expires_at);

-- Used login tickets, kept until they expire.
CREATE TABLE consumed_tickets (
    id         bytea  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    expires_at bigint NOT NULL
);

CREATE INDEX consumed_tickets_by_expiry ON consumed_tickets (expires_at);

-- Refresh tokens, one per session, kept until they are revoked at the provider after the session's end.
CREATE TABLE refresh_tokens (
    session_id   text    COLLATE "C" NOT NULL PRIMARY KEY,
    provider_key bytea   NOT NULL CHECK (octet_length(provider_key) = 32),
    key_version  integer NOT NULL,
    -- The grant. The provider is that of the session.
    sealed       bytea   NOT NULL,
    -- Grows with every change of the grant, for compare-and-set.
    version      bigint  NOT NULL,
    -- When to revalidate; null once the session is known to have ended.
    due_at       bigint,
    -- When to revoke it at the provider: when the session expires, or at once if it ended early.
    revoke_after bigint  NOT NULL,
    -- The end of the current lease, and the member that holds it.
    leased_until bigint  NOT NULL,
    leased_by    text    COLLATE "C",
    -- Failures since the last success.
    failures     integer NOT NULL,
    -- Since when a request without a stored response may have consumed it.
    lost_since   bigint
);

CREATE INDEX refresh_tokens_by_due ON refresh_tokens (provider_key, due_at);
CREATE INDEX refresh_tokens_by_revocation ON refresh_tokens (provider_key, revoke_after);
CREATE INDEX refresh_tokens_of_ended ON refresh_tokens (provider_key, revoke_after) WHERE due_at IS NULL;

-- The providers that each member lists. A session ends with its provider only once no member lists it.
CREATE TABLE providers (
    member_id   text    COLLATE "C" NOT NULL,
    name_key    bytea   NOT NULL CHECK (octet_length(name_key) = 32),
    key_version integer NOT NULL,
    -- Name, issuer, sign-in policy and the reference of the client secret.
    sealed      bytea   NOT NULL,
    PRIMARY KEY (member_id, name_key)
);

-- The last known hosts of the providers' endpoints.
CREATE TABLE provider_endpoints (
    provider_key bytea   NOT NULL PRIMARY KEY CHECK (octet_length(provider_key) = 32),
    key_version  integer NOT NULL,
    -- The provider and the hosts.
    sealed       bytea   NOT NULL
);

CREATE TABLE certificates (
    name_key    bytea   NOT NULL PRIMARY KEY CHECK (octet_length(name_key) = 32),
    key_version integer NOT NULL,
    -- Name, certificate and private key. One row has the CA, the next one, when that takes over, and the number of their
    -- changes.
    sealed      bytea   NOT NULL
);

-- The daemon CA's current announcement and its sequence number. The number is at least the time of the change in seconds, so a
-- restored backup does not reuse one.
CREATE TABLE ca_rollover (
    singleton   smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    sequence    bigint   NOT NULL,
    -- SHA-256 of the announcement; empty until the first one.
    announced   text     NOT NULL
);

INSERT INTO ca_rollover (sequence, announced) VALUES (0, '');

-- ACME accounts by directory URL.
CREATE TABLE acme_accounts (
    directory_key bytea   NOT NULL PRIMARY KEY CHECK (octet_length(directory_key) = 32),
    key_version   integer NOT NULL,
    -- The directory and the credentials.
    sealed        bytea   NOT NULL
);

-- Orders that were started and have issued no certificate. They count as failures.
CREATE TABLE acme_orders (
    id       bigint NOT NULL PRIMARY KEY,
    begun_at bigint NOT NULL
);

-- When each directory last issued a certificate.
CREATE TABLE acme_successes (
    directory_key bytea   NOT NULL PRIMARY KEY CHECK (octet_length(directory_key) = 32),
    key_version   integer NOT NULL,
    -- The directory and the time.
    sealed        bytea   NOT NULL
);

-- The pause that the authority asked for; 0 for none. Whoever starts an order locks the row first.
CREATE TABLE acme_pause (
    singleton smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    until     bigint   NOT NULL
);

INSERT INTO acme_pause (until) VALUES (0);

-- Certificates for tls-alpn-01 (RFC 8737): the authority may connect to any member.
CREATE TABLE acme_challenges (
    name_key    bytea   NOT NULL PRIMARY KEY CHECK (octet_length(name_key) = 32),
    key_version integer NOT NULL,
    sealed      bytea   NOT NULL,
    expires_at  bigint  NOT NULL
);

-- Jobs that one member does at a time. `fence` grows with every change of the holder.
CREATE TABLE leases (
    name   text        COLLATE "C" NOT NULL PRIMARY KEY,
    holder text        COLLATE "C" NOT NULL,
    fence  bigint      NOT NULL,
    until  timestamptz NOT NULL
);

-- The number of the last change. Its row lock orders changes by commit.
CREATE TABLE counter (
    singleton   smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    value       bigint   NOT NULL,
    -- The latest time that a purge saw. Expiry never uses an earlier one.
    latest_time bigint   NOT NULL DEFAULT 0,
    -- The server and the table where the row was written. It differs from where it is after a dump was restored, and after
    -- an attacker deleted the row.
    origin      text     COLLATE "C" NOT NULL DEFAULT ''
);

INSERT INTO counter (value, origin)
    SELECT 0, system_identifier || ' ' || 'counter'::regclass::oid FROM pg_control_system();

-- Changed and ended sessions, kept for ten minutes.
CREATE TABLE changes (
    number      bigint      NOT NULL PRIMARY KEY,
    -- Tells apart two changes with one number, if a failover lost the first.
    mark        text        COLLATE "C" NOT NULL DEFAULT gen_random_uuid()::text,
    session_ids text[]      COLLATE "C" NOT NULL,
    -- All sessions changed: `session_ids` is empty.
    is_all      boolean     NOT NULL DEFAULT false,
    at          timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX changes_by_time ON changes (at);

-- One row per running daemon.
CREATE TABLE members (
    id          text        COLLATE "C" NOT NULL PRIMARY KEY,
    key_version integer     NOT NULL,
    -- Name and version of the daemon.
    sealed      bytea       NOT NULL,
    -- The newest schema that it supports.
    schema      integer     NOT NULL,
    -- The newest data key that it holds.
    newest_key  integer     NOT NULL,
    -- The last change that it knew at its last heartbeat.
    known       bigint      NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    -- How many changes there were after the one that it knew then.
    lag         bigint      NOT NULL DEFAULT 0
);

-- Written to test whether the store can be written. At least as large as a login's writes.
CREATE TABLE write_probe (
    singleton smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    contents  bytea    NOT NULL
);

INSERT INTO write_probe (contents) VALUES ('');
