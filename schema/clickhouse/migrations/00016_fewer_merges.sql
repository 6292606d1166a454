-- The widest table is merged less often: its records were written anew for each
-- factor of five by which its parts grew, and that took almost as long as to
-- insert them. What is asked of it is a stretch of a history or of a partition,
-- which a few more parts do not slow. And of the two tables that hold records, a
-- block as it comes is one file and not two for each column, for each file is
-- flushed by itself.

-- +goose Up

ALTER TABLE events MODIFY SETTING merge_selector_base = 10, min_bytes_for_wide_part = 67108864;

ALTER TABLE chat_log MODIFY SETTING min_bytes_for_wide_part = 67108864;
