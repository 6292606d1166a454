-- The views of 00001 and 00003 again, with comments on their columns. Steps are
-- subqueries: an alias is written out wherever it is used, and such a query
-- takes longer to plan than to run for one account.

-- +goose Up

CREATE OR REPLACE VIEW accounts
(
    account        String COMMENT 'bare JID',
    partition      Int32 COMMENT 'of the topic account, where its history is',
    created_at     DateTime64(6, 'UTC') COMMENT 'when it was created',
    created_offset UInt64 COMMENT 'where, in its partition'
)
AS SELECT account, any(partition) AS partition, min(at) AS created_at, min(offset) AS created_offset
FROM events
WHERE kind = 'account_created' AND NOT ignored
GROUP BY account
COMMENT 'The accounts that there are: of a deleted one the history writer deletes the rows from every table';

-- Sessions, and when each ended: at the first of its own close, the next
-- binding of its resource and its edge's loss. An epoch ends at the first loss
-- of itself or a later one; nothing that it wrote counts after that, so the
-- first is the right one for every session of it.
CREATE OR REPLACE VIEW sessions
(
    account      String COMMENT 'bare JID',
    resource     String COMMENT 'resourcepart',
    binding      UUID COMMENT 'the id of the session',
    edge         LowCardinality(String) COMMENT 'the edge that it was on',
    epoch        UInt64 COMMENT 'of the edge: which of its lives',
    bound_offset UInt64 COMMENT 'where it began, in the history of the account',
    bound_at     DateTime64(6, 'UTC') COMMENT 'when it began',
    ended        Tuple(UInt64, DateTime64(6, 'UTC')) COMMENT 'where and when it ended; zero while it lasts',
    ended_offset UInt64 COMMENT 'where it ended, in the history of the account; 0 while it lasts',
    ended_at     Nullable(DateTime64(6, 'UTC')) COMMENT 'when it ended; NULL while it lasts',
    presence     Array(Tuple(UInt64, DateTime64(6, 'UTC'), UInt8)) COMMENT 'what it said, in order: offset, time, whether available'
)
AS SELECT account, resource, binding, edge, epoch, bound_offset, bound_at, ended,
    ended.1 AS ended_offset,
    if(ended.1 = 0, NULL, ended.2) AS ended_at,
    arraySort(arrayFilter(p -> ended.1 = 0 OR p.1 < ended.1, said)) AS presence
FROM
(
    SELECT account, resource, binding, b.edge AS edge, b.epoch AS epoch, bound_offset, bound_at, said,
        arraySort(arrayFilter(e -> e.1 > bound_offset, [replaced, closed, lost]))[1] AS ended
    FROM
    (
        SELECT account, resource, partition, binding, edge, epoch, bound_offset, bound_at, said, closed,
            leadInFrame((bound_offset, bound_at)) OVER (PARTITION BY account, resource ORDER BY bound_offset
                ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS replaced
        FROM
        (
            SELECT account, resource, binding, any(presence_change.partition) AS partition,
                anyIf(toString(presence_change.edge), change = 'bound') AS edge, anyIf(presence_change.epoch, change = 'bound') AS epoch,
                minIf(offset, change = 'bound') AS bound_offset, minIf(at, change = 'bound') AS bound_at,
                minIf((offset, at), change = 'closed') AS closed,
                groupArrayIf((offset, at, change = 'available'), change IN ('available', 'unavailable')) AS said
            FROM presence_change
            GROUP BY account, resource, binding
            HAVING countIf(change = 'bound') > 0
        )
    ) AS b
    ASOF LEFT JOIN
    (
        SELECT partition, edge, epoch,
            min(first) OVER (PARTITION BY partition, edge ORDER BY epoch DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lost
        FROM (SELECT partition, edge, epoch, min((offset, at)) AS first FROM edge_lost GROUP BY partition, edge, epoch)
    ) AS l ON l.partition = b.partition AND l.edge = b.edge AND l.epoch >= b.epoch
)
COMMENT 'Sessions and when each ended: at the first of its own close, the next binding of its resource and the loss of its edge';

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
    online_to   Nullable(DateTime64(6, 'UTC')) COMMENT 'the next unavailable presence, or the end of the session; NULL while it is online'
)
AS SELECT account, resource, binding, edge, span.1 AS online_from, span.2 AS online_to
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
COMMENT 'From when to when a session was available';

-- Seconds for which an account had an available resource, by UTC day. Spans
-- of several resources count once where they overlap. It is what presence_spans
-- says, asked in a narrower way: to plan the three views for one account took
-- longer than all the rest. What did not happen is at offset 2^64-1, now.
CREATE OR REPLACE VIEW online_seconds
(
    account String COMMENT 'bare JID',
    day     Date COMMENT 'in UTC; days on which it was not online have no row',
    seconds Float64 COMMENT 'seconds with an available resource, two at a time counted once; of what lasts still, until now'
)
AS SELECT account, day,
    intervalLengthSum(greatest(since, toUnixTimestamp64Micro(toDateTime64(day, 6, 'UTC'))), least(until, toUnixTimestamp64Micro(toDateTime64(day + 1, 6, 'UTC')))) / 1000000 AS seconds
FROM
(
    SELECT account, span.1 AS since, greatest(span.1, span.2) AS until,
        arrayJoin(range(toUInt16(intDiv(since, 86400000000)), toUInt16(intDiv(until, 86400000000) + 1)))::Date AS day
    FROM
    (
        SELECT account,
            arrayJoin(arrayFilter(s -> s.3, arrayMap((p, n) -> (toUnixTimestamp64Micro(p.2), toUnixTimestamp64Micro(if(n.1 < ended.1, n.2, ended.2)), p.3 AND p.1 < ended.1), said, arrayPushBack(arrayPopFront(said), (ended.1, ended.2, 0))))) AS span
        FROM
        (
            SELECT account, said, least(over, if(lost.1 > bound.1, lost, (toUInt64(-1), now64(6, 'UTC')))) AS ended
            FROM
            (
                SELECT account, partition, edge, epoch, bound, said,
                    least(closed, leadInFrame(bound, 1, (toUInt64(-1), now64(6, 'UTC'))) OVER (PARTITION BY account, resource ORDER BY bound ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)) AS over
                FROM
                (
                    SELECT account, resource, binding, any(presence_change.partition) AS partition,
                        anyIf(toString(presence_change.edge), change = 'bound') AS edge, anyIf(presence_change.epoch, change = 'bound') AS epoch,
                        minIf((offset, at), change = 'bound') AS bound,
                        min(if(change = 'closed', (offset, at), (toUInt64(-1), now64(6, 'UTC')))) AS closed,
                        arraySort(groupArrayIf((offset, at, change = 'available'), change IN ('available', 'unavailable'))) AS said
                    FROM presence_change
                    GROUP BY account, resource, binding
                    HAVING countIf(change = 'bound') > 0
                )
            ) AS b
            ASOF LEFT JOIN
            (
                SELECT partition, edge, epoch,
                    min(first) OVER (PARTITION BY partition, edge ORDER BY epoch DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lost
                FROM (SELECT partition, edge, epoch, min((offset, at)) AS first FROM edge_lost GROUP BY partition, edge, epoch)
            ) AS l ON l.partition = b.partition AND l.edge = b.edge AND l.epoch >= b.epoch
        )
    )
)
GROUP BY account, day
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
)
COMMENT 'How many resources were online in a minute';

-- What 00005 has as views, with comments; the columns of one with a parameter
-- take none.
ALTER TABLE archive MODIFY COMMENT 'Conversations, one row for each owner, without what is withheld';

ALTER TABLE archive
    COMMENT COLUMN owner 'bare JID whose copy this is',
    COMMENT COLUMN id 'the archive id: the offset in the history of the owner',
    COMMENT COLUMN partition 'of the topic account, where that history is',
    COMMENT COLUMN at 'when it was accepted',
    COMMENT COLUMN direction 'received or sent, by the owner; what one sends to oneself is received',
    COMMENT COLUMN peer 'bare JID of the other side',
    COMMENT COLUMN peer_resource 'of the sender, or as addressed',
    COMMENT COLUMN resource 'of the owner: as addressed, or that of the sender',
    COMMENT COLUMN message_type 'normal, chat, groupchat: RFC 6121, section 5.2.2',
    COMMENT COLUMN stanza_id 'id of the message_accepted: the same in both copies',
    COMMENT COLUMN origin_id 'the id that the client of the sender gave it (XEP-0359)',
    COMMENT COLUMN message_id 'the id attribute that the sender gave it',
    COMMENT COLUMN body 'what was said, without xml:lang or in the language of the stanza',
    COMMENT COLUMN raw 'the record, whose message holds the whole payload';

ALTER TABLE archive_of MODIFY COMMENT 'The same for one owner, archive_of(owner = ''juliet@localhost''): as fast as the key';
