-- Logins by the minute and the storms among them, and how many hear of a
-- presence. How tables are filled, see 00007.

-- +goose Up

-- Sums by minute over all accounts. Nobody is named here, so nothing goes when
-- an account does.
CREATE TABLE IF NOT EXISTS minute_activity
(
    minute            DateTime('UTC'),
    logins            SimpleAggregateFunction(sum, UInt64),
    presence_changes  SimpleAggregateFunction(sum, UInt64),
    messages          SimpleAggregateFunction(sum, UInt64),
    messages_withheld SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY minute
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO minute_activity
SELECT toStartOfMinute(toDateTime(at, 'UTC')) AS minute, countIf(kind = 'resource_bound'),
    countIf(kind IN ('presence_available', 'presence_unavailable')), countIf(kind = 'message_accepted'), countIf(kind = 'message_withheld')
FROM events
WHERE NOT EXISTS (SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'minute_activity_feed')
    AND NOT ignored AND (kind IN ('resource_bound', 'presence_available', 'presence_unavailable') OR kind = 'message_accepted' AND archived
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
GROUP BY minute
ORDER BY ALL
SETTINGS async_insert = 0, insert_deduplication_token = '8/minute_activity', deduplicate_insert_select = 'enable_even_for_bad_queries',
    max_insert_threads = 1, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS minute_activity_feed TO minute_activity AS
SELECT toStartOfMinute(toDateTime(at, 'UTC')) AS minute,
    countIf(kind = 'resource_bound') AS logins,
    countIf(kind IN ('presence_available', 'presence_unavailable')) AS presence_changes,
    countIf(kind = 'message_accepted') AS messages,
    countIf(kind = 'message_withheld') AS messages_withheld
FROM events
WHERE NOT ignored AND (kind IN ('resource_bound', 'presence_available', 'presence_unavailable') OR kind = 'message_accepted' AND archived
    OR kind = 'message_withheld' AND reason IN ('refused', 'copy'))
GROUP BY minute;

CREATE OR REPLACE VIEW activity
(
    minute           DateTime('UTC') COMMENT 'its start; minutes without any of these have no row',
    logins           UInt64 COMMENT 'sessions that began',
    presence_changes UInt64 COMMENT 'available and unavailable presence that was broadcast',
    messages         UInt64 COMMENT 'messages received, counted as in account_counters'
)
AS SELECT minute,
    sum(minute_activity.logins) AS logins,
    sum(minute_activity.presence_changes) AS presence_changes,
    toUInt64(sum(minute_activity.messages) - sum(minute_activity.messages_withheld)) AS messages
FROM minute_activity
GROUP BY minute
COMMENT 'What all accounts together did in a minute; accounts that were deleted since, too';

-- A minute is a storm's if its logins are more than 5 times the usual, and more
-- than 10. The usual is the median over the 60 minutes before, the 30th of
-- them by size; a minute without a row had none. Storm minutes that follow one
-- another are one storm; after half an hour it is the usual.
CREATE OR REPLACE VIEW storms
(
    started DateTime('UTC') COMMENT 'its first minute',
    minutes UInt64 COMMENT 'how many minutes it lasted, one after the other, each with more than 10 logins and more than 5 times the usual',
    logins  UInt64 COMMENT 'logins in these minutes',
    peak    UInt64 COMMENT 'logins in the busiest of them',
    usual   UInt64 COMMENT 'logins a minute before it: the median of the 60 minutes before its first'
)
AS SELECT min(minute) AS started, count() AS minutes, sum(of_minute) AS logins, max(of_minute) AS peak, argMin(before, minute) AS usual
FROM
(
    SELECT minute, of_minute, before, toUnixTimestamp(minute) / 60 - row_number() OVER (ORDER BY minute) AS storm
    FROM
    (
        SELECT minute, of_minute,
            arraySort(arrayConcat(arrayWithConstant(60 - length(hour), toUInt64(0)), hour))[30] AS before
        FROM
        (
            SELECT minute, sum(minute_activity.logins) AS of_minute,
                groupArray(sum(minute_activity.logins)) OVER (ORDER BY toUnixTimestamp(minute) RANGE BETWEEN 3600 PRECEDING AND 60 PRECEDING) AS hour
            FROM minute_activity
            GROUP BY minute
        )
    )
    WHERE of_minute > 10 AND of_minute > 5 * before
)
GROUP BY storm
COMMENT 'Minutes in which many more than usual logged in';

-- Who sees an account's presence, as the account's history has it. The contact
-- hears of it by a stanza of the account in its own history, which names what
-- caused it there: subscribed, also when that is said again, and unsubscribed.
-- The contact's own unsubscribe comes into the account's history. All three have
-- a place in that, and the last counts.
CREATE TABLE IF NOT EXISTS subscriber_change
(
    account  String CODEC(ZSTD(1)),
    contact  String COMMENT 'bare JID' CODEC(ZSTD(1)),
    offset   UInt64 COMMENT 'in the history of account' CODEC(Delta, ZSTD(1)),
    at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sees     Bool COMMENT 'from then on the contact sees the account''s presence, or does not'
)
ENGINE = ReplacingMergeTree
ORDER BY (account, contact, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO subscriber_change
SELECT if(verb = 'unsubscribe', events.account, splitByChar('/', peer)[1]) AS account,
    if(verb = 'unsubscribe', splitByChar('/', peer)[1], events.account) AS contact,
    if(verb = 'unsubscribe', events.offset, sequence) AS offset, at, verb = 'subscribed' AS sees
FROM events
WHERE NOT EXISTS (SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'subscriber_change_feed')
    AND NOT ignored AND kind = 'subscription_received' AND verb IN ('subscribed', 'unsubscribed', 'unsubscribe')
ORDER BY ALL
SETTINGS async_insert = 0, insert_deduplication_token = '8/subscriber_change', deduplicate_insert_select = 'enable_even_for_bad_queries',
    max_insert_threads = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS subscriber_change_feed TO subscriber_change AS
SELECT if(verb = 'unsubscribe', events.account, splitByChar('/', peer)[1]) AS account,
    if(verb = 'unsubscribe', splitByChar('/', peer)[1], events.account) AS contact,
    if(verb = 'unsubscribe', events.offset, sequence) AS offset, at, verb = 'subscribed' AS sees
FROM events
WHERE NOT ignored AND kind = 'subscription_received' AND verb IN ('subscribed', 'unsubscribed', 'unsubscribe');

CREATE OR REPLACE VIEW audience
(
    account     String COMMENT 'bare JID',
    day         Date COMMENT 'in UTC; only days on which the size changed have a row, so as of a day it is that of the last row up to it',
    subscribers UInt64 COMMENT 'contacts with a subscription from the account at the end of the day: so many accounts a presence change goes to, unless privacy lists, blocking or invisibility keep it from some'
)
AS SELECT account, day, toUInt64(sum(change) OVER (PARTITION BY account ORDER BY day)) AS subscribers
FROM
(
    SELECT account, toDate(since) AS day, sum(step) AS change
    FROM
    (
        -- Of an account's pair with a contact time goes on with the offset, even if a clock does not.
        SELECT account, max(at) OVER w AS since, toInt64(sees) - toInt64(lagInFrame(sees, 1, false) OVER w) AS step
        FROM subscriber_change
        WINDOW w AS (PARTITION BY account, contact ORDER BY offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WHERE step != 0
    GROUP BY account, day
    HAVING change != 0
)
COMMENT 'How many see the presence of an account, day by day';
