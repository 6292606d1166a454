-- +goose Up

-- Sums by account and UTC day. Merges add rows up at their own time, so
-- readers ask account_counters.
CREATE TABLE IF NOT EXISTS account_day
(
    account           String CODEC(ZSTD(1)),
    day               Date,
    messages_sent     SimpleAggregateFunction(sum, UInt64),
    messages_received SimpleAggregateFunction(sum, UInt64),
    presence_changes  SimpleAggregateFunction(sum, UInt64),
    logins            SimpleAggregateFunction(sum, UInt64),
    roster_changes    SimpleAggregateFunction(sum, UInt64),
    last_offset       SimpleAggregateFunction(max, UInt64) COMMENT 'of what is counted'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (account, day)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS account_day_feed TO account_day AS
SELECT account, toDate(at) AS day,
    countIf(kind = 'message_sent' AND archived) AS messages_sent,
    countIf(kind = 'message_accepted' AND archived) AS messages_received,
    countIf(kind IN ('presence_available', 'presence_unavailable')) AS presence_changes,
    countIf(kind = 'resource_bound') AS logins,
    countIf(kind IN ('roster_item_set', 'roster_item_removed', 'subscription_sent', 'subscription_received')) AS roster_changes,
    max(offset) AS last_offset
FROM events
WHERE NOT ignored AND kind IN ('message_sent', 'message_accepted', 'presence_available', 'presence_unavailable', 'resource_bound',
    'roster_item_set', 'roster_item_removed', 'subscription_sent', 'subscription_received')
GROUP BY account, day;

-- What an account did on a day: messages that the archive keeps, presence that
-- it broadcast, sessions, and changes of its roster and its subscriptions.
CREATE VIEW IF NOT EXISTS account_counters AS
SELECT account, day,
    sum(account_day.messages_sent) AS messages_sent,
    sum(account_day.messages_received) AS messages_received,
    sum(account_day.presence_changes) AS presence_changes,
    sum(account_day.logins) AS logins,
    sum(account_day.roster_changes) AS roster_changes
FROM account_day
GROUP BY account, day;
