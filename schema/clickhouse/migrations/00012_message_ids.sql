-- What clients know as the stanza id is id, so the id that both copies of a
-- message share has the name that the HTTP door gives it.

-- +goose Up

CREATE OR REPLACE VIEW archive
(
    owner         String COMMENT 'bare JID whose copy this is',
    id            UInt64 COMMENT 'the archive id: the offset in the history of the owner',
    partition     Int32 COMMENT 'of the topic account, where that history is',
    at            DateTime64(6, 'UTC') COMMENT 'when it was accepted',
    direction     Enum8('received' = 1, 'sent' = 2) COMMENT 'received or sent, by the owner; what one sends to oneself is received',
    peer          String COMMENT 'bare JID of the other side',
    peer_resource String COMMENT 'of the sender, or as addressed',
    resource      String COMMENT 'of the owner: as addressed, or that of the sender',
    message_type  LowCardinality(String) COMMENT 'normal, chat, groupchat: RFC 6121, section 5.2.2',
    message       UUID COMMENT 'the same in both copies: the id of the message_accepted',
    origin_id     String COMMENT 'the id that the client of the sender gave it (XEP-0359)',
    message_id    String COMMENT 'the id attribute that the sender gave it',
    body          String COMMENT 'what was said, without xml:lang or in the language of the stanza',
    raw           String COMMENT 'the record, whose message holds the whole payload'
)
AS SELECT owner, id, partition, at, direction, peer, peer_resource, resource, message_type, stanza_id AS message, origin_id, message_id, body, raw
FROM chat_log
WHERE (owner, id) NOT IN (SELECT owner, id FROM withheld)
COMMENT 'Conversations, one row for each owner, without what is withheld';

CREATE OR REPLACE VIEW archive_of AS
SELECT owner, id, partition, at, direction, peer, peer_resource, resource, message_type, stanza_id AS message, origin_id, message_id, body, words, raw
FROM chat_log
WHERE owner = {owner:String} AND id NOT IN (SELECT id FROM withheld WHERE owner = {owner:String})
COMMENT 'The archive of one owner, archive_of(owner = ''juliet@localhost''): as fast as the key';
