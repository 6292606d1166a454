-- +goose Up

-- Keys of services that use the HTTP door.
CREATE TABLE run.api_key (
	id         text COLLATE "C" NOT NULL,
	hash       bytea            NOT NULL, -- SHA-256 of its secret, which nobody keeps
	name       text             NOT NULL, -- for people
	domain     text COLLATE "C" NOT NULL, -- whose accounts it is for
	scopes     text[]           NOT NULL,
	senders    text[]           NOT NULL, -- bare JIDs that it may send as, besides the domain; "*": every account of it
	created_at timestamptz      NOT NULL DEFAULT now(),
	revoked_at timestamptz,
	CONSTRAINT api_key_key PRIMARY KEY (id)
);

-- Requests with an Idempotency-Key, for a day: what was answered is answered
-- again.
CREATE TABLE run.idempotency (
	api_key    text COLLATE "C" NOT NULL,
	key        text COLLATE "C" NOT NULL, -- as the client sent it
	request    uuid             NOT NULL, -- names the request for ever; ids of its events derive from it
	hash       bytea            NOT NULL, -- SHA-256 of method, path and body
	owner      text,                      -- the process that works on it, by its lease; NULL: nobody does
	epoch      bigint,
	status     integer,                   -- of the answer; NULL: there is none yet
	kind       text,                      -- its Content-Type
	location   text,                      -- its Location
	answer     bytea,
	created_at timestamptz      NOT NULL DEFAULT now(),
	tried_at   timestamptz      NOT NULL DEFAULT now(), -- when the last try began
	CONSTRAINT idempotency_key PRIMARY KEY (api_key, key)
);
CREATE INDEX idempotency_created ON run.idempotency (created_at);

-- Broadcasts. Recipients before sent are in the log, those from pending on are
-- not, and of those between nobody knows if the owner has died.
CREATE TABLE run.broadcast (
	id          uuid             NOT NULL,
	api_key     text COLLATE "C" NOT NULL,
	domain      text COLLATE "C" NOT NULL,
	audience    text             NOT NULL, -- online or all
	roster_of   text COLLATE "C",          -- bare JID: of its contacts alone
	roster_group text,                     -- of those in this group alone
	accepted    bytea            NOT NULL, -- event.MessageAccepted
	state       text             NOT NULL, -- running, cancelling, done or cancelled
	total       bigint           NOT NULL,
	sent        bigint           NOT NULL DEFAULT 0,
	pending     bigint           NOT NULL DEFAULT 0, -- sent <= pending <= total
	attempt     integer          NOT NULL DEFAULT 1, -- of its origin in the log
	owner       text,                      -- the process that works on it, by its lease
	epoch       bigint,
	created_at  timestamptz      NOT NULL DEFAULT now(),
	ended_at    timestamptz,
	CONSTRAINT broadcast_key PRIMARY KEY (id)
);
CREATE INDEX broadcast_open ON run.broadcast (created_at) WHERE ended_at IS NULL;

-- Whom a broadcast is for, as of its beginning; gone when it has ended.
CREATE TABLE run.broadcast_recipient (
	broadcast uuid             NOT NULL,
	n         bigint           NOT NULL, -- from 0
	account   text COLLATE "C" NOT NULL, -- bare JID
	CONSTRAINT broadcast_recipient_key PRIMARY KEY (broadcast, n),
	CONSTRAINT broadcast_recipient_of FOREIGN KEY (broadcast) REFERENCES run.broadcast ON DELETE CASCADE
);
