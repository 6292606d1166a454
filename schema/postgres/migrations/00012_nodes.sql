-- +goose Up

-- When the account's last available resource went, and what it said (XEP-0012);
-- NULL before any.
ALTER TABLE views.account
	ADD COLUMN left_at     timestamptz,
	ADD COLUMN left_status text NOT NULL DEFAULT '',
	SET (fillfactor = 80);

-- A node of an account (XEP-0163).
CREATE TABLE views.node (
	account      text COLLATE "C" NOT NULL,
	node         text COLLATE "C" NOT NULL,
	access       smallint         NOT NULL, -- 1 presence, 2 open, 3 owner
	max_items    bigint           NOT NULL, -- 0 is 1
	transient    boolean          NOT NULL, -- items are only notified
	no_last_item boolean          NOT NULL,
	version      bigint           NOT NULL, -- offset of the event that made or configured it
	CONSTRAINT node_key PRIMARY KEY (account, node)
);

-- An item of a node. Payloads are only written, and read by who asks for items.
CREATE TABLE views.node_item (
	account text COLLATE "C" NOT NULL,
	node    text COLLATE "C" NOT NULL,
	id      text COLLATE "C" NOT NULL,
	version bigint           NOT NULL, -- offset of the event that published it
	at      timestamptz      NOT NULL,
	payload bytea            NOT NULL, -- XML
	CONSTRAINT node_item_key PRIMARY KEY (account, node, id)
);
CREATE INDEX node_item_last ON views.node_item (account, node, version);

-- What an account keeps: its vCard (XEP-0054) and private XML (XEP-0049).
CREATE TABLE views.storage (
	account text COLLATE "C" NOT NULL,
	space   smallint         NOT NULL, -- 1 vCard, 2 private XML
	name    text COLLATE "C" NOT NULL, -- of a vCard ''; else "{namespace}local"
	version bigint           NOT NULL, -- offset of the event that set it
	payload bytea            NOT NULL, -- XML
	CONSTRAINT storage_key PRIMARY KEY (account, space, name)
);

-- What clients can do, by the hash under which they announce it (XEP-0115):
-- verified, and the same for ever.
CREATE TABLE run.capability (
	hash       text COLLATE "C" NOT NULL, -- sha-1, …
	ver        text COLLATE "C" NOT NULL,
	features   text[]           NOT NULL,
	learned_at timestamptz      NOT NULL DEFAULT now(),
	CONSTRAINT capability_key PRIMARY KEY (hash, ver)
);
