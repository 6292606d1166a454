-- +goose Up

-- Which domain an edge serves, so that whoever adds an account can be told
-- that no edge serves its domain.
ALTER TABLE run.lease ADD COLUMN domain text NOT NULL DEFAULT ''; -- empty: of no edge, or not known
