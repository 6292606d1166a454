-- +goose Up

-- What the folded events caused in other histories and outboxes, from the
-- commit that folded them until the log has acknowledged them.
CREATE TABLE run.reaction (
	partition integer NOT NULL, -- of the event that caused it
	"offset"  bigint  NOT NULL,
	index     integer NOT NULL, -- place among the reactions to that event
	topic     text    NOT NULL, -- account, outbox or dead-letter
	key       bytea   NOT NULL, -- bare JID; of a dead letter, as found
	kind      text    NOT NULL, -- header kind
	error     text    NOT NULL, -- of a dead letter: why it is one
	record    bytea   NOT NULL, -- event.Event or event.Output; of a dead letter, as found
	CONSTRAINT reaction_key PRIMARY KEY (partition, "offset", index)
);

-- Where each partition stood at the first commit of each day of its log, and
-- up to where tombstones of removed roster items are purged. A client whose
-- roster version is below purged needs the whole roster.
CREATE TABLE run.day (
	partition   integer NOT NULL,
	day         date    NOT NULL, -- of the events, UTC
	next_offset bigint  NOT NULL,
	CONSTRAINT day_key PRIMARY KEY (partition, day)
);
CREATE TABLE run.purged (
	partition integer NOT NULL,
	version   bigint  NOT NULL, -- tombstones with a lower version are gone
	CONSTRAINT purged_key PRIMARY KEY (partition)
);

-- Live edges and workers.
CREATE TABLE run.lease (
	kind       text        NOT NULL, -- edge or worker
	id         text        NOT NULL,
	epoch      bigint      NOT NULL,
	address    text        NOT NULL,
	expires_at timestamptz NOT NULL,
	lost       boolean     NOT NULL DEFAULT false,
	CONSTRAINT lease_key PRIMARY KEY (kind, id, epoch)
);
CREATE SEQUENCE run.epoch;
CREATE SEQUENCE run.claim;

-- How far the history writer has copied each partition of the topic account.
CREATE TABLE run.history (
	partition   integer     NOT NULL,
	next_offset bigint      NOT NULL,
	marks       bytea       NOT NULL DEFAULT '', -- account.Marks as of next_offset
	updated_at  timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT history_key PRIMARY KEY (partition)
);

-- A block that is planned and perhaps inserted, until history has passed it.
CREATE TABLE run.history_block (
	partition    integer     NOT NULL,
	first_offset bigint      NOT NULL,
	next_offset  bigint      NOT NULL, -- the first after the block
	month        date        NOT NULL, -- of all of its events; its first day, UTC
	planned_at   timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT history_block_key PRIMARY KEY (partition, first_offset)
);

-- fence ends the transaction unless held: the caller's offset was not what it
-- thought. SQLSTATE RC001.
-- +goose StatementBegin
CREATE FUNCTION run.fence(held boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF held THEN
		RETURN true;
	END IF;
	RAISE EXCEPTION 'fenced: another writer moved the offset' USING ERRCODE = 'RC001';
END
$$;
-- +goose StatementEnd
