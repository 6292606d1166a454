-- Counters of messages, exact by what the log says: a message counts from its
-- message_accepted or message_sent on, and no more once a message_withheld says
-- that it was refused or a copy. What preferences keep out of the archive counts.
--
-- Each table is filled with what the archive has before its materialized view
-- begins. Stop the history writers meanwhile: what they write between the two
-- would be missed. A table whose view is there is filled already; and blocks of
-- the filling have tokens, so that a migration that was cut short before the
-- view, or two that run at once, fill it once. What these tables hold of an
-- account goes with it (projector/history).
--
-- Columns of views have comments: docs/ANALYTICS.md has the same ones.

-- +goose Up

ALTER TABLE account_day ADD COLUMN IF NOT EXISTS messages_withheld SimpleAggregateFunction(sum, UInt64) AFTER messages_received;

ALTER TABLE account_day_feed MODIFY QUERY
SELECT account, toDate(at) AS day,
    countIf(kind = 'message_sent' AND archived) AS messages_sent,
    countIf(kind = 'message_accepted' AND archived) AS messages_received,
    countIf(kind = 'message_withheld') AS messages_withheld,
    countIf(kind IN ('presence_available', 'presence_unavailable')) AS presence_changes,
    countIf(kind = 'resource_bound') AS logins,
    countIf(kind IN ('roster_item_set', 'roster_item_removed', 'subscription_sent', 'subscription_received')) AS roster_changes,
    max(offset) AS last_offset
FROM events
WHERE NOT ignored AND (kind IN ('message_sent', 'message_accepted', 'presence_available', 'presence_unavailable', 'resource_bound',
    'roster_item_set', 'roster_item_removed', 'subscription_sent', 'subscription_received')
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
GROUP BY account, day;

CREATE OR REPLACE VIEW account_counters
(
    account           String COMMENT 'bare JID',
    day               Date COMMENT 'in UTC; days without any of these have no row',
    messages_sent     UInt64 COMMENT 'messages of the account that did not come back with an error: what may be archived, so no headlines, errors, chat states, or what is hinted not to be stored',
    messages_received UInt64 COMMENT 'such messages for the account, without those that it refused and without copies of a client''s resending',
    presence_changes  UInt64 COMMENT 'available and unavailable presence that it broadcast',
    logins            UInt64 COMMENT 'sessions that began: resources bound',
    roster_changes    UInt64 COMMENT 'roster items set and removed, subscription stanzas sent and received'
)
AS SELECT account, day,
    sum(account_day.messages_sent) AS messages_sent,
    toUInt64(sum(account_day.messages_received) - sum(account_day.messages_withheld)) AS messages_received,
    sum(account_day.presence_changes) AS presence_changes,
    sum(account_day.logins) AS logins,
    sum(account_day.roster_changes) AS roster_changes
FROM account_day
GROUP BY account, day
HAVING messages_sent + messages_received + presence_changes + logins + roster_changes > 0
COMMENT 'What an account did on a day';

-- The same by who was at the other side.
CREATE TABLE IF NOT EXISTS pair_day
(
    account           String CODEC(ZSTD(1)),
    peer              String COMMENT 'bare JID' CODEC(ZSTD(1)),
    day               Date,
    messages_sent     SimpleAggregateFunction(sum, UInt64),
    messages_received SimpleAggregateFunction(sum, UInt64),
    messages_withheld SimpleAggregateFunction(sum, UInt64) COMMENT 'of those received',
    last_offset       SimpleAggregateFunction(max, UInt64) COMMENT 'of what is counted'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (account, peer, day)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO pair_day
SELECT account, splitByChar('/', events.peer)[1] AS peer, toDate(at) AS day,
    countIf(kind = 'message_sent'), countIf(kind = 'message_accepted'), countIf(kind = 'message_withheld'), max(offset)
FROM events
WHERE NOT EXISTS (SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'pair_day_feed')
    AND NOT ignored AND (kind IN ('message_sent', 'message_accepted') AND archived
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
GROUP BY account, peer, day
ORDER BY ALL
SETTINGS async_insert = 0, insert_deduplication_token = '7/pair_day', deduplicate_insert_select = 'enable_even_for_bad_queries',
    max_insert_threads = 1, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS pair_day_feed TO pair_day AS
SELECT account, splitByChar('/', events.peer)[1] AS peer, toDate(at) AS day,
    countIf(kind = 'message_sent') AS messages_sent,
    countIf(kind = 'message_accepted') AS messages_received,
    countIf(kind = 'message_withheld') AS messages_withheld,
    max(offset) AS last_offset
FROM events
WHERE NOT ignored AND (kind IN ('message_sent', 'message_accepted') AND archived
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
GROUP BY account, peer, day;

CREATE OR REPLACE VIEW pair_counters
(
    account           String COMMENT 'bare JID',
    peer              String COMMENT 'bare JID of the other side',
    day               Date COMMENT 'in UTC; days without a message have no row',
    messages_sent     UInt64 COMMENT 'messages from the account to the peer, counted as in account_counters',
    messages_received UInt64 COMMENT 'messages from the peer to the account, counted as in account_counters'
)
AS SELECT account, peer, day,
    sum(pair_day.messages_sent) AS messages_sent,
    toUInt64(sum(pair_day.messages_received) - sum(pair_day.messages_withheld)) AS messages_received
FROM pair_day
GROUP BY account, peer, day
HAVING messages_sent + messages_received > 0
COMMENT 'Messages between an account and each of its peers on a day';

-- What waits for an account: a message goes in with sign 1 and out with sign
-- -1, when a resource took it, when it expired, or when it was refused or a copy.
-- Merges take both away. Of a message that several resources took, rows with
-- sign -1 are left over: it is unread only while there is none.
CREATE TABLE IF NOT EXISTS inbox_change
(
    account String CODEC(ZSTD(1)),
    id      UInt64 COMMENT 'offset of the message in the account''s history' CODEC(Delta, ZSTD(1)),
    peer    String COMMENT 'bare JID of the sender, where sign is 1' CODEC(ZSTD(1)),
    at      DateTime64(6, 'UTC') COMMENT 'when the message was accepted, or went out' CODEC(Delta, ZSTD(1)),
    sign    Int8
)
ENGINE = CollapsingMergeTree(sign)
ORDER BY (account, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO inbox_change
SELECT account, if(kind = 'message_accepted', offset, reference) AS id, if(kind = 'message_accepted', splitByChar('/', events.peer)[1], '') AS peer,
    at, if(kind = 'message_accepted', 1, -1) AS sign
FROM events
WHERE NOT EXISTS (SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'inbox_change_feed')
    AND NOT ignored AND (kind = 'message_accepted' AND archived OR kind IN ('delivered', 'message_expired')
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
ORDER BY account, id, sign DESC, at
SETTINGS async_insert = 0, insert_deduplication_token = '7/inbox_change', deduplicate_insert_select = 'enable_even_for_bad_queries',
    max_insert_threads = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS inbox_change_feed TO inbox_change AS
SELECT account, if(kind = 'message_accepted', offset, reference) AS id, if(kind = 'message_accepted', splitByChar('/', events.peer)[1], '') AS peer,
    at, if(kind = 'message_accepted', 1, -1) AS sign
FROM events
WHERE NOT ignored AND (kind = 'message_accepted' AND archived OR kind IN ('delivered', 'message_expired')
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'));

CREATE OR REPLACE VIEW unread
(
    account  String COMMENT 'bare JID',
    peer     String COMMENT 'bare JID of the sender',
    messages UInt64 COMMENT 'messages from the peer that no resource of the account has taken and that have not expired, counted as in account_counters; no row if there is none',
    first_at DateTime64(6, 'UTC') COMMENT 'when the oldest of them was accepted',
    last_at  DateTime64(6, 'UTC') COMMENT 'when the newest of them was accepted'
)
AS SELECT account, sender AS peer, count() AS messages, min(accepted_at) AS first_at, max(accepted_at) AS last_at
FROM
(
    SELECT account, id, anyIf(inbox_change.peer, sign = 1) AS sender, anyIf(at, sign = 1) AS accepted_at
    FROM inbox_change GROUP BY account, id HAVING sum(sign) > 0
)
GROUP BY account, sender
COMMENT 'Messages that wait for an account, by sender, since the last that was delivered';
