-- +goose Up

-- The history writer knows the sessions that last, for the spans that end. What
-- an earlier version copied has no spans yet: they are made when it is read anew.
ALTER TABLE run.history
	ADD COLUMN sessions        bytea  NOT NULL DEFAULT '', -- as of sessions_offset
	ADD COLUMN sessions_offset bigint NOT NULL DEFAULT 0,  -- <= spans_offset
	ADD COLUMN spans_offset    bigint NOT NULL DEFAULT 0,  -- presence_span has what turns below it; <= next_offset
	ADD CONSTRAINT history_sessions CHECK (sessions_offset <= spans_offset AND spans_offset <= next_offset);
