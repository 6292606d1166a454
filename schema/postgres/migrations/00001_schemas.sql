-- What Rollcall keeps in Postgres, by who may lose it:
--   views  the fold of the log and nothing else: a rebuild makes it anew and swaps the whole schema by renaming
--   run    what a running Rollcall needs beside it: reactions on their way, leases, the history writer's plans
--   auth   who may log in; not event-sourced, never in the log
-- Keys compare by their bytes (COLLATE "C"), as Go compares them.

-- +goose Up
CREATE SCHEMA views;
CREATE SCHEMA run;
CREATE SCHEMA auth;

-- An analyst writes "SELECT * FROM online_friends" and finds it, after a swap too.
-- +goose StatementBegin
DO $$
BEGIN
	EXECUTE format('ALTER DATABASE %I SET search_path = views, run, auth, public', current_database());
END
$$;
-- +goose StatementEnd
