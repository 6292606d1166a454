-- +goose Up

-- A block may hold a range of several partitions, so that a small load makes
-- few parts in ClickHouse, and of several months, which are inserted apart.
DROP TABLE run.history_block;

-- The blocks that are planned and perhaps inserted, until history has passed
-- them: whoever wants to go on with one of its partitions inserts the block
-- again first. A partition is in one block at most.
CREATE TABLE run.history_block (
	partition    integer     NOT NULL,
	block        uuid        NOT NULL, -- with the month, the token of its INSERTs
	first_offset bigint      NOT NULL,
	next_offset  bigint      NOT NULL, -- the first after the block
	planned_at   timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT history_block_key PRIMARY KEY (partition),
	CONSTRAINT history_block_range CHECK (first_offset < next_offset)
);
CREATE INDEX history_block_block ON run.history_block (block);
