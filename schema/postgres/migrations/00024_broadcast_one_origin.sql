-- +goose Up

-- A broadcast has one origin in the log: of a partition, nothing is stored any
-- more behind an append that failed, so what failed goes out under the same one.
ALTER TABLE run.broadcast DROP COLUMN attempt;
