-- Spans of presence, told by who reads the log in order and not found by a
-- query: the history writer knows the sessions that last, and writes a row when
-- a resource becomes available and another when it is so no more. What was
-- archived before it reads once more when it starts (projector/history, recall).

-- +goose Up

-- Two rows for each span, which merges may make one: when it began, and when it
-- ended. It goes with its account. The rows of a block are inserted by their own
-- INSERT, by month of at.
CREATE TABLE IF NOT EXISTS presence_span
(
    account  String CODEC(LZ4),
    begun    UInt64 COMMENT 'offset of the available presence with which it begins' CODEC(Delta, LZ4),
    resource SimpleAggregateFunction(any, String) CODEC(LZ4),
    binding  SimpleAggregateFunction(any, UUID),
    edge     SimpleAggregateFunction(any, LowCardinality(String)),
    since    SimpleAggregateFunction(any, DateTime64(6, 'UTC')) COMMENT 'its time' CODEC(Delta, LZ4),
    at       SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'of its end, if it has ended; not before since' CODEC(Delta, LZ4),
    ended    SimpleAggregateFunction(max, Bool)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (account, begun)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024,
    min_compress_block_size = 8192, min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- How many resources became available in a minute less those that ceased to be,
-- over all accounts, and when each did, for the most at a time. Nobody is named
-- here, so nothing goes when an account does.
CREATE TABLE IF NOT EXISTS minute_online
(
    minute DateTime('UTC'),
    delta  SimpleAggregateFunction(sum, Int64),
    steps  SimpleAggregateFunction(groupArrayArray, Array(Tuple(DateTime64(6, 'UTC'), Int8)))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY minute
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS minute_online_feed TO minute_online AS
SELECT toStartOfMinute(toDateTime(at, 'UTC')) AS minute, sum(if(ended, -1, 1)) AS delta, groupArray((at, if(ended, -1, 1)::Int8)) AS steps
FROM presence_span
GROUP BY minute;

-- When each session was available. A span begins with the first available
-- presence and ends with unavailable presence or with the session; online_to is
-- NULL while it lasts.
CREATE OR REPLACE VIEW presence_spans
(
    account     String COMMENT 'bare JID',
    resource    String COMMENT 'resourcepart',
    binding     UUID COMMENT 'the session',
    edge        LowCardinality(String) COMMENT 'the edge that it was on',
    online_from DateTime64(6, 'UTC') COMMENT 'its first available presence, or the first after an unavailable one',
    online_to   Nullable(DateTime64(6, 'UTC')) COMMENT 'the next unavailable presence, or the end of the session, not before online_from; NULL while it is online'
)
AS SELECT account, any(presence_span.resource) AS resource, any(presence_span.binding) AS binding, any(presence_span.edge) AS edge,
    any(since) AS online_from, if(max(ended), max(at), NULL) AS online_to
FROM presence_span
GROUP BY account, begun
COMMENT 'From when to when a session was available';

-- The same, found by a query over all that was said.
CREATE OR REPLACE VIEW session_spans
(
    account     String COMMENT 'as in presence_spans',
    resource    String COMMENT 'as in presence_spans',
    binding     UUID COMMENT 'as in presence_spans',
    edge        LowCardinality(String) COMMENT 'as in presence_spans',
    online_from DateTime64(6, 'UTC') COMMENT 'as in presence_spans',
    online_to   Nullable(DateTime64(6, 'UTC')) COMMENT 'as in presence_spans'
)
AS SELECT account, resource, binding, edge, span.1 AS online_from, if(isNull(span.2), NULL, greatest(span.1, span.2)) AS online_to
FROM
(
    SELECT account, resource, binding, edge,
        arrayJoin(arrayMap(i -> (turns[i].2, if(i < length(turns), turns[i + 1].2, ended_at)), range(1, length(turns) + 1, 2))) AS span
    FROM
    (
        SELECT account, resource, binding, edge, ended_at,
            arrayFilter((p, i) -> p.3 != (i > 1 AND presence[i - 1].3), presence, arrayEnumerate(presence)) AS turns
        FROM sessions
    )
)
COMMENT 'What presence_spans says, found from sessions: slower, and nobody counts on it, so each checks the other';

-- Seconds for which an account had an available resource, by UTC day. Spans
-- of several resources count once where they overlap.
CREATE OR REPLACE VIEW online_seconds
(
    account String COMMENT 'bare JID',
    day     Date COMMENT 'in UTC; days on which it was not online have no row',
    seconds Float64 COMMENT 'seconds with an available resource, two at a time counted once; of what lasts still, until now'
)
AS SELECT account, n::Date AS day, intervalLengthSum(greatest(began, n * 86400000000), least(until, (n + 1) * 86400000000)) / 1000000 AS seconds
FROM
(
    SELECT account, toUnixTimestamp64Micro(any(since)) AS began, greatest(began, toUnixTimestamp64Micro(if(max(ended), max(at), now64(6)))) AS until,
        arrayJoin(range(intDiv(began, 86400000000), intDiv(until, 86400000000) + 1)) AS n
    FROM presence_span
    GROUP BY account, begun
)
GROUP BY account, n
COMMENT 'How long an account was online on a day';

-- Available resources at the end of each minute, and the most there were
-- within it. Minutes without a change are there too.
CREATE OR REPLACE VIEW concurrency
(
    minute DateTime('UTC') COMMENT 'its start; every minute from the first change to the last has a row',
    online Int64 COMMENT 'available resources at the end of the minute',
    peak   Int64 COMMENT 'the most that were available at a time in it'
)
AS SELECT minute, online, greatest(peak, online) AS peak
FROM
(
    SELECT minute, sum(more) OVER (ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS online, online - more + greatest(rise, 0) AS peak
    FROM
    (
        SELECT minute, sum(delta) AS more, arrayMax(arrayCumSum(arrayMap(step -> step.2, arraySort(groupArrayArray(steps))))) AS rise
        FROM minute_online
        GROUP BY minute
    )
    ORDER BY minute WITH FILL STEP toIntervalMinute(1) INTERPOLATE (online, peak AS online)
)
COMMENT 'How many resources were online in a minute';

-- The same of the minutes from first to last, both included: what was before is
-- one sum. The columns of a view with a parameter take no comments.
CREATE OR REPLACE VIEW concurrency_between AS
SELECT minute, online, greatest(peak, online) AS peak
FROM
(
    SELECT minute, sum(before + more) OVER (ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS online, online - more + greatest(rise, 0) AS peak
    FROM
    (
        SELECT minute, sum(base) AS before, sum(delta) AS more, arrayMax(arrayCumSum(arrayMap(step -> step.2, arraySort(groupArrayArray(steps))))) AS rise
        FROM
        (
            SELECT minute, 0 AS base, delta, steps FROM minute_online WHERE minute BETWEEN toStartOfMinute({first:DateTime('UTC')}) AND {last:DateTime('UTC')}
            UNION ALL
            SELECT toStartOfMinute({first:DateTime('UTC')}), sum(minute_online.delta), 0, [] FROM minute_online WHERE minute < toStartOfMinute({first:DateTime('UTC')})
        )
        GROUP BY minute
    )
    ORDER BY minute WITH FILL TO least({last:DateTime('UTC')}, now('UTC')) + 1 STEP toIntervalMinute(1) INTERPOLATE (online, peak AS online)
)
COMMENT 'The same from one minute to another, concurrency_between(first = ''2026-02-01 00:00:00'', last = ''2026-02-01 23:59:00''), without those to come';
