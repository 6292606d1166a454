-- Every record of the topic account, once, in blocks that projector/history
-- plans. Other tables hang off this one by materialized views, so a row of
-- theirs comes from the same INSERT and is dropped with it when it comes again.
--
-- What all tables share, and why:
--   non_replicated_deduplication_window  a block whose answer was lost goes again under the same token; 10,000 blocks are
--                                        half an hour of the busiest writer, and such a block goes again before any other
--   fsync_after_insert, fsync_part_directory  this is the only copy once Kafka's retention has passed, so an acknowledged
--                                        block is on disk: half the speed in large blocks, and it outlives a power cut
--   PARTITION BY month                   old months can be moved or dropped whole; a block is cut at months, so that it
--                                        is one part in each table
--   IF NOT EXISTS                        a migration that was cut short runs again

-- +goose Up

CREATE TABLE IF NOT EXISTS events
(
    account      String COMMENT 'bare JID whose history it is in: the key of the record; empty for edge_lost, which every partition has once' CODEC(ZSTD(1)),
    partition    Int32 COMMENT 'of the topic account' CODEC(ZSTD(1)),
    offset       UInt64 CODEC(Delta, ZSTD(1)),
    kind         LowCardinality(String) COMMENT 'as in event.proto: presence_available; or garbage: bytes that nobody can decode',
    at           DateTime64(6, 'UTC') COMMENT 'when it was written, by the clock of who wrote it; of garbage, by Kafka' CODEC(Delta, ZSTD(1)),
    origin       LowCardinality(String) COMMENT 'who wrote it: edge/ID/EPOCH, or p/PARTITION for a reaction',
    sequence     UInt64 COMMENT 'grows within the origin; of a reaction, the offset of what caused it' CODEC(Delta, ZSTD(1)),
    idx          UInt32 COMMENT 'of a reaction, its place among those to one event' CODEC(ZSTD(1)),
    id           UUID COMMENT 'of a message_accepted, the stanza id; of a resource_bound, the binding',
    binding      UUID COMMENT 'the session it came from; zero if none; of a resource_bound, its own id',
    ignored      Bool COMMENT 'a copy, a late record or garbage: folds to nothing, and no other table or view counts it',
    archived     Bool COMMENT 'false for a message that must not be archived: body and payload are left out of every column',
    resource     String COMMENT 'resourcepart of the account that it concerns' CODEC(ZSTD(1)),
    peer         String COMMENT 'the other side: contact, sender or addressee, a bare or full JID' CODEC(ZSTD(1)),
    show         LowCardinality(String),
    status       String CODEC(ZSTD(1)),
    priority     Int8,
    available    Bool COMMENT 'of presence, directed presence too',
    verb         LowCardinality(String) COMMENT 'subscribe, subscribed, unsubscribe or unsubscribed',
    message_type LowCardinality(String) COMMENT 'normal, chat, headline, groupchat or error',
    stanza_id    String COMMENT 'the id attribute that the client gave its stanza' CODEC(ZSTD(1)),
    body         String CODEC(ZSTD(1)),
    name         String COMMENT 'of a roster item' CODEC(ZSTD(1)),
    groups       Array(String) COMMENT 'of a roster item' CODEC(ZSTD(1)),
    edge         LowCardinality(String),
    epoch        UInt64 CODEC(ZSTD(1)),
    accepted     UUID COMMENT 'of a message_sent, the id of the message_accepted',
    reference    UInt64 COMMENT 'an offset: of delivered, of the message; of directed_received, in the history of the sender' CODEC(ZSTD(1)),
    reason       String COMMENT 'why a resource closed, or why it is garbage' CODEC(ZSTD(1)),
    raw          String COMMENT 'the record itself' CODEC(ZSTD(1)),

    -- For replay, which reads a partition from one offset to another. Rows go
    -- by ALTER TABLE events DELETE alone: after a lightweight DELETE, which the
    -- projection forbids, engine 26.7 would still read them from here.
    PROJECTION by_position
    (
        SELECT partition, offset, account, raw ORDER BY partition, offset
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (account, offset)
SETTINGS non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- The accounts that there are: the history writer deletes the rows of a deleted
-- account from every table.
CREATE VIEW IF NOT EXISTS accounts AS
SELECT account, any(partition) AS partition, min(at) AS created_at, min(offset) AS created_offset
FROM events
WHERE kind = 'account_created' AND NOT ignored
GROUP BY account;
