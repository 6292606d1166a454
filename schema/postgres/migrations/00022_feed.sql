-- +goose Up

-- What the presence of a partition's accounts was once: who hears of changes
-- from an older position on goes on from there. Any of it may be lost.
CREATE TABLE run.feed_checkpoint (
	partition   integer     NOT NULL,
	next_offset bigint      NOT NULL,
	state       bytea       NOT NULL, -- schema/watch.Partition as of next_offset
	saved_at    timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT feed_checkpoint_key PRIMARY KEY (partition, next_offset)
);
