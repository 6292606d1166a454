-- +goose Up

-- Who searches one archive finds nothing that is withheld either.
CREATE OR REPLACE VIEW archive_of AS
SELECT owner, id, partition, at, direction, peer, peer_resource, resource, message_type, stanza_id, origin_id, message_id, body, words, raw
FROM chat_log
WHERE owner = {owner:String} AND id NOT IN (SELECT id FROM withheld WHERE owner = {owner:String})
COMMENT 'The archive of one owner, archive_of(owner = ''juliet@localhost''): as fast as the key';
