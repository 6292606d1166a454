-- +goose Up

-- What sessions went through, as the log says it. It is mostly asked of one
-- account: granules are small, as in chat_log.
CREATE TABLE IF NOT EXISTS presence_change
(
    account   String CODEC(ZSTD(1)),
    resource  String CODEC(ZSTD(1)),
    partition Int32 CODEC(ZSTD(1)),
    offset    UInt64 CODEC(Delta, ZSTD(1)),
    at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    change    Enum8('bound' = 1, 'available' = 2, 'unavailable' = 3, 'closed' = 4),
    binding   UUID,
    edge      LowCardinality(String) COMMENT 'of bound',
    epoch     UInt64 COMMENT 'of bound' CODEC(ZSTD(1)),
    show      LowCardinality(String),
    status    String CODEC(ZSTD(1)),
    priority  Int8
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (account, resource, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS presence_change_feed TO presence_change AS
SELECT account, resource, partition, offset, at,
    transform(kind, ['resource_bound', 'presence_available', 'presence_unavailable', 'resource_closed'],
        ['bound', 'available', 'unavailable', 'closed'], 'bound') AS change,
    binding, edge, epoch, show, status, priority
FROM events
WHERE kind IN ('resource_bound', 'presence_available', 'presence_unavailable', 'resource_closed') AND NOT ignored;

-- Edges that died: every session of the edge up to that epoch ended.
CREATE TABLE IF NOT EXISTS edge_lost
(
    partition Int32,
    edge      String,
    epoch     UInt64,
    offset    UInt64,
    at        DateTime64(6, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (partition, edge, epoch, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS edge_lost_feed TO edge_lost AS
SELECT partition, edge, epoch, offset, at FROM events WHERE kind = 'edge_lost' AND NOT ignored;

-- Sessions, and when each ended: at the first of its own close, the next
-- binding of its resource and its edge's loss. An epoch ends at the first loss
-- of itself or a later one; nothing that it wrote counts after that, so the
-- first is the right one for every session of it.
CREATE VIEW IF NOT EXISTS sessions AS
WITH
    losses AS
    (
        SELECT partition, edge, epoch,
            min(first) OVER (PARTITION BY partition, edge ORDER BY epoch DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lost
        FROM (SELECT partition, edge, epoch, min((offset, at)) AS first FROM edge_lost GROUP BY partition, edge, epoch)
    ),
    bindings AS
    (
        SELECT account, resource, partition, offset, at, binding, toString(edge) AS edge, epoch,
            leadInFrame((offset, at)) OVER (PARTITION BY account, resource ORDER BY offset
                ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS replaced
        FROM presence_change WHERE change = 'bound'
    ),
    steps AS
    (
        SELECT account, resource, binding,
            groupArrayIf((offset, at, change = 'available'), change != 'closed') AS presence,
            minIf((offset, at), change = 'closed') AS closed
        FROM presence_change WHERE change != 'bound' GROUP BY account, resource, binding
    )
SELECT b.account AS account, b.resource AS resource, b.binding AS binding, b.edge AS edge, b.epoch AS epoch,
    b.offset AS bound_offset, b.at AS bound_at,
    arraySort(arrayFilter(e -> e.1 > b.offset, [b.replaced, s.closed, l.lost]))[1] AS ended,
    ended.1 AS ended_offset,
    if(ended.1 = 0, NULL, ended.2) AS ended_at,
    -- What it said, in order: offset, time, whether available.
    arraySort(arrayFilter(p -> ended.1 = 0 OR p.1 < ended.1, s.presence)) AS presence
FROM bindings AS b
LEFT JOIN steps AS s ON s.account = b.account AND s.resource = b.resource AND s.binding = b.binding
ASOF LEFT JOIN losses AS l ON l.partition = b.partition AND l.edge = b.edge AND l.epoch >= b.epoch;

-- When each session was available. A span begins with the first available
-- presence and ends with unavailable presence or with the session; online_to is
-- NULL while it lasts.
CREATE VIEW IF NOT EXISTS presence_spans AS
SELECT account, resource, binding, edge, span.1 AS online_from, span.2 AS online_to
FROM
(
    WITH
        arrayFilter((p, i) -> p.3 != (i > 1 AND presence[i - 1].3), presence, arrayEnumerate(presence)) AS turns
    SELECT account, resource, binding, edge,
        arrayJoin(arrayMap(i -> (turns[i].2, if(i < length(turns), turns[i + 1].2, ended_at)), range(1, length(turns) + 1, 2))) AS span
    FROM sessions
);

-- Seconds for which an account had an available resource, by UTC day. Spans
-- of several resources count once where they overlap.
CREATE VIEW IF NOT EXISTS online_seconds AS
SELECT account, day,
    intervalLengthSum(
        toUnixTimestamp64Micro(greatest(online_from, toDateTime64(day, 6, 'UTC'))),
        toUnixTimestamp64Micro(least(until, toDateTime64(day + 1, 6, 'UTC')))) / 1000000 AS seconds
FROM
(
    SELECT account, online_from, greatest(online_from, ifNull(online_to, now64(6, 'UTC'))) AS until,
        arrayJoin(arrayMap(n -> toDate(online_from, 'UTC') + n, range(toUInt32(toDate(until, 'UTC') - toDate(online_from, 'UTC') + 1)))) AS day
    FROM presence_spans
)
GROUP BY account, day;

-- Available resources at the end of each minute, and the most there were
-- within it. Minutes without a change are there too.
CREATE VIEW IF NOT EXISTS concurrency AS
SELECT minute, online, greatest(peak, online) AS peak
FROM
(
    SELECT toStartOfMinute(moment, 'UTC') AS minute, argMax(running, (moment, place)) AS online, max(greatest(running, running - delta)) AS peak
    FROM
    (
        SELECT moment, delta, sum(delta) OVER (ORDER BY moment, delta ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running,
            row_number() OVER (ORDER BY moment, delta) AS place
        FROM
        (
            SELECT arrayJoin(if(online_to IS NULL, [(online_from, toInt64(1))],
                [(online_from, toInt64(1)), (assumeNotNull(online_to), toInt64(-1))])) AS step, step.1 AS moment, step.2 AS delta
            FROM presence_spans
        )
    )
    GROUP BY minute
    ORDER BY minute WITH FILL STEP toIntervalMinute(1) INTERPOLATE (online, peak AS online)
);
