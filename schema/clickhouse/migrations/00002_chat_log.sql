-- +goose Up

-- Conversations, one row for each owner: what the recipient got comes from its
-- message_accepted, what the sender sent from its message_sent. An archive
-- pages with "owner = ? AND id < ? ORDER BY id DESC LIMIT n", which reads the
-- end of the owner's rows backwards: some tens of rows in each part, which is
-- why granules are small. (A table from before they were goes on with 8,192.)
CREATE TABLE IF NOT EXISTS chat_log
(
    owner         String COMMENT 'bare JID whose copy this is' CODEC(ZSTD(1)),
    id            UInt64 COMMENT 'the offset in the owner''s history; an archive id' CODEC(Delta, ZSTD(1)),
    partition     Int32 COMMENT 'of the owner' CODEC(ZSTD(1)),
    at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    direction     Enum8('received' = 1, 'sent' = 2),
    peer          String COMMENT 'bare JID of the other side' CODEC(ZSTD(1)),
    peer_resource String COMMENT 'of the sender, or as addressed' CODEC(ZSTD(1)),
    resource      String COMMENT 'of the owner: as addressed, or the sender''s' CODEC(ZSTD(1)),
    message_type  LowCardinality(String),
    stanza_id     UUID COMMENT 'the same in both copies (XEP-0359)',
    origin_id     String COMMENT 'the id attribute that the sender gave' CODEC(ZSTD(1)),
    body          String CODEC(ZSTD(1)),
    raw           String COMMENT 'the record, whose message holds the whole payload' CODEC(ZSTD(1)),

    INDEX peer peer TYPE bloom_filter GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (owner, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS chat_log_feed TO chat_log AS
SELECT account AS owner, offset AS id, partition, at,
    if(kind = 'message_accepted', 'received', 'sent') AS direction,
    splitByChar('/', events.peer)[1] AS peer,
    if(position(events.peer, '/') = 0, '', substring(events.peer, position(events.peer, '/') + 1)) AS peer_resource,
    resource, message_type,
    if(kind = 'message_accepted', events.id, accepted) AS stanza_id,
    events.stanza_id AS origin_id, body, raw
FROM events
WHERE kind IN ('message_accepted', 'message_sent') AND archived AND NOT ignored;
