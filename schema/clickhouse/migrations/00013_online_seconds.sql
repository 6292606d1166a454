-- The seconds online without a step for each session: for one account the view
-- of 00009 took most of its time to be planned, and for all of them a half longer.

-- +goose Up

-- Seconds for which an account had an available resource, by UTC day. Spans
-- of several resources count once where they overlap. It is what presence_spans
-- says, asked in another way. A resource's history is a list of what was said,
-- in order; e is one of it, b the binding that counted there, n what comes next.
CREATE OR REPLACE VIEW online_seconds
(
    account String COMMENT 'bare JID',
    day     Date COMMENT 'in UTC; days on which it was not online have no row',
    seconds Float64 COMMENT 'seconds with an available resource, two at a time counted once; of what lasts still, until now'
)
AS SELECT account, n::Date AS day, intervalLengthSum(greatest(since, n * 86400000000), least(until, (n + 1) * 86400000000)) / 1000000 AS seconds
FROM
(
    SELECT account, span.1 AS since, span.2 AS until, arrayJoin(range(intDiv(since, 86400000000), intDiv(until, 86400000000) + 1)) AS n
    FROM
    (
        -- Available until the next that counts, the loss of its edge, or now; nothing counts between a session's end and the next binding.
        SELECT account,
            arrayJoin(arrayFilter(span -> span.3, arrayMap((e, b, n) ->
                    (e.2, greatest(e.2, multiIf(b.5 > b.1 AND (n.1 = 0 OR b.5 < n.1), b.6, n.1 = 0, toUnixTimestamp64Micro(now64(6)), n.2)), e.3 = 'available' AND b.3 = 'bound'),
                theirs, arrayFill(e -> e.3 IN ('bound', 'closed'), theirs), arrayShiftLeft(theirs, 1)))) AS span
        FROM
        (
            -- What the latest binding said before its edge was lost. A loss before the binding was another epoch's.
            SELECT account, arrayFilter((e, b) -> b.3 = 'bound' AND e.4 = b.4 AND (b.5 <= b.1 OR e.1 < b.5), said, arrayFill(e -> e.3 = 'bound', said)) AS theirs
            FROM
            (
                SELECT account, arraySort(groupArray((offset, toUnixTimestamp64Micro(c.at), change, binding, lost.1, toUnixTimestamp64Micro(lost.2)))) AS said
                FROM presence_change AS c
                ASOF LEFT JOIN
                (
                    SELECT partition, edge, epoch, min((offset, at)) OVER (PARTITION BY partition, edge ORDER BY epoch DESC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lost
                    FROM edge_lost
                ) AS l ON l.partition = c.partition AND l.edge = c.edge AND l.epoch >= c.epoch
                GROUP BY account, resource
            )
        )
    )
)
GROUP BY account, n
COMMENT 'How long an account was online on a day';
