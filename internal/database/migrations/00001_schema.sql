-- +goose Up

-- No foreign keys on the request's own tables: each would lock the request's
-- row for every reply and task of it, and prove nothing to a reader who
-- believes no row. Few CHECKs on the tables of which every request makes rows,
-- because PostgreSQL reads each again from its text whenever a statement runs:
-- the size of a request, which every consumer reads, and a task's states.

CREATE TABLE countersign.request (
    id           uuid        PRIMARY KEY,
    body         bytea       NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 1048576),
    hash         bytea       NOT NULL,
    fingerprint  bytea       NOT NULL,
    owner        text        NOT NULL,
    kind         text        NOT NULL,
    wallet       text        NOT NULL,
    submitted_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX request_owner ON countersign.request (owner, id);
CREATE INDEX request_expires ON countersign.request (expires_at);

-- One row per request and consumer that still has to work on it. State: 0
-- ready, 1 parked, 2 dead. A parked task without a delay is available at
-- infinity, so that the partial index serves 0 and 1 alike. The primary key
-- begins with the request: an index on the consumer alone would be walked,
-- finished tasks included, by statements that name their requests. Whoever
-- works on a task has it until leased_until, which no index holds, so that a
-- lease changes its page alone; the page keeps room for that. Version is raised
-- whenever somebody wants a task looked at that may be at work.
CREATE TABLE countersign.task (
    consumer     text        NOT NULL,
    request_id   uuid        NOT NULL,
    state        smallint    NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts     integer     NOT NULL DEFAULT 0,
    seen_reply   bigint      NOT NULL DEFAULT 0,
    note         text        NOT NULL DEFAULT '',
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    version      bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (request_id, consumer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.2);
CREATE INDEX task_open ON countersign.task (consumer, available_at, request_id) WHERE state < 2;

CREATE TABLE countersign.reply (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid        NOT NULL,
    sender     text        NOT NULL,
    body       bytea       NOT NULL,
    attachment bytea       NOT NULL,
    epochs     bytea[]     NOT NULL,
    decisive   boolean     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reply_request ON countersign.reply (request_id, id);

CREATE TABLE countersign.intent (
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    request_id uuid        NOT NULL,
    instance   text        NOT NULL,
    body       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, id)
);

CREATE TABLE countersign.result (
    request_id uuid        PRIMARY KEY,
    status     text        NOT NULL,
    body       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE countersign.notice (
    topic      text        NOT NULL CHECK (topic IN ('hello', 'announcement', 'policy')),
    key        text        NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    sender     text        NOT NULL CHECK (octet_length(sender) BETWEEN 1 AND 64),
    body       bytea       NOT NULL CHECK (octet_length(body) <= 4194304),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (topic, key)
);

-- owner is a copy from the descriptor, for lists; the descriptor is what is
-- sealed.
CREATE TABLE countersign.wallet (
    id         text        PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
    owner      text        NOT NULL CHECK (octet_length(owner) <= 256),
    descriptor bytea       NOT NULL CHECK (octet_length(descriptor) BETWEEN 1 AND 65536),
    ciphertext bytea       NOT NULL CHECK (octet_length(ciphertext) BETWEEN 1 AND 65536),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX wallet_created ON countersign.wallet (created_at, id);

CREATE TABLE countersign.account (
    id         text        PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
    wallet_id  text        NOT NULL REFERENCES countersign.wallet (id),
    owner      text        NOT NULL CHECK (octet_length(owner) <= 256),
    descriptor bytea       NOT NULL CHECK (octet_length(descriptor) BETWEEN 1 AND 65536),
    ciphertext bytea       NOT NULL CHECK (octet_length(ciphertext) BETWEEN 1 AND 65536),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX account_wallet ON countersign.account (wallet_id, created_at, id);

CREATE TABLE countersign.record (
    role       text        NOT NULL,
    seq        bigint      NOT NULL,
    body       bytea       NOT NULL,
    mac        bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, seq)
);

CREATE TABLE countersign.audit_entry (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL,
    request_id uuid,
    body       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_entry_request ON countersign.audit_entry (request_id);

-- Whoever has no policy of his own sees and changes no row.
ALTER TABLE countersign.request     ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.task        ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.reply       ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.intent      ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.result      ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.notice      ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.wallet      ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.account     ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.record      ENABLE ROW LEVEL SECURITY;
ALTER TABLE countersign.audit_entry ENABLE ROW LEVEL SECURITY;
