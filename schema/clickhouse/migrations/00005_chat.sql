-- +goose Up

-- Messages that are in no archive, though their records were archivable when
-- they were written: the fold tells it a moment later, in the same history
-- (message_withheld). Nothing is here of who sets no preferences and refuses
-- nothing. A row stays; what was said goes, see projector/history.
CREATE TABLE IF NOT EXISTS withheld
(
    owner     String COMMENT 'bare JID whose archive it is' CODEC(ZSTD(1)),
    id        UInt64 COMMENT 'of the message in the owner''s history: chat_log.id' CODEC(Delta, ZSTD(1)),
    partition Int32 COMMENT 'of the owner' CODEC(ZSTD(1)),
    offset    UInt64 COMMENT 'of the message_withheld' CODEC(Delta, ZSTD(1)),
    reason    LowCardinality(String) COMMENT 'refused: its sender got an error, or it was ignored; copy: by its origin id; preferences: the owner keeps no such messages',
    peer      String COMMENT 'bare JID of the other side' CODEC(ZSTD(1)),
    at        DateTime64(6, 'UTC') COMMENT 'of the message' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (owner, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS withheld_feed TO withheld AS
SELECT account AS owner, reference AS id, partition, offset, reason, splitByChar('/', events.peer)[1] AS peer, at
FROM events
WHERE kind = 'message_withheld' AND NOT ignored;

-- The id that the sender's client gave a message (XEP-0359), beside the id
-- attribute of the stanza. Rows from before hold the attribute in both.
ALTER TABLE events ADD COLUMN IF NOT EXISTS origin_id String COMMENT 'of a message, the id that the sender''s client gave it (XEP-0359)' CODEC(ZSTD(1)) AFTER stanza_id;
ALTER TABLE events COMMENT COLUMN id 'of a resource_bound, the binding';
ALTER TABLE chat_log ADD COLUMN IF NOT EXISTS message_id String DEFAULT origin_id COMMENT 'the id attribute that the sender gave' CODEC(ZSTD(1)) AFTER origin_id;
ALTER TABLE chat_log COMMENT COLUMN origin_id 'the id that the sender''s client gave (XEP-0359)';
ALTER TABLE chat_log COMMENT COLUMN id 'the offset in the owner''s history: the archive id, and the stanza id that the owner''s clients see';
ALTER TABLE chat_log COMMENT COLUMN stanza_id 'id of the message_accepted: the same in both copies';
ALTER TABLE chat_log MODIFY COMMENT 'storage, with what is withheld; ask archive, or archive_of(owner)';

ALTER TABLE chat_log_feed MODIFY QUERY
SELECT account AS owner, offset AS id, partition, at,
    if(kind = 'message_accepted', 'received', 'sent') AS direction,
    splitByChar('/', events.peer)[1] AS peer,
    if(position(events.peer, '/') = 0, '', substring(events.peer, position(events.peer, '/') + 1)) AS peer_resource,
    resource, message_type,
    if(kind = 'message_accepted', events.id, accepted) AS stanza_id,
    events.origin_id AS origin_id, events.stanza_id AS message_id, body, raw
FROM events
WHERE kind IN ('message_accepted', 'message_sent') AND archived AND NOT ignored;

-- The archive of everybody, as readers may see it: for analysts.
CREATE OR REPLACE VIEW archive AS
SELECT owner, id, partition, at, direction, peer, peer_resource, resource, message_type, stanza_id, origin_id, message_id, body, raw
FROM chat_log
WHERE (owner, id) NOT IN (SELECT owner, id FROM withheld);

-- The archive of one owner, archive_of(owner = 'a@x'): what it leaves out it
-- finds by its key, so a page costs what it does on chat_log.
CREATE OR REPLACE VIEW archive_of AS
SELECT owner, id, partition, at, direction, peer, peer_resource, resource, message_type, stanza_id, origin_id, message_id, body, raw
FROM chat_log
WHERE owner = {owner:String} AND id NOT IN (SELECT id FROM withheld WHERE owner = {owner:String});
