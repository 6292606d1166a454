-- +goose Up

-- An account between its AccountCreated and its AccountDeleted.
CREATE TABLE views.account (
	account        text COLLATE "C" NOT NULL, -- bare JID
	partition      integer          NOT NULL,
	created_offset bigint           NOT NULL, -- of its AccountCreated
	created_at     timestamptz      NOT NULL,
	CONSTRAINT account_key PRIMARY KEY (account)
);

-- RFC 6121 §2.1.2. Removed items stay a while as tombstones, for those who ask
-- what changed since a version (§2.6).
CREATE TABLE views.roster_item (
	account text COLLATE "C" NOT NULL,
	contact text COLLATE "C" NOT NULL, -- bare JID
	name    text             NOT NULL,
	groups  text[]           NOT NULL,
	state   smallint         NOT NULL, -- bits: 1 to, 2 from, 4 pending out, 8 pending in (RFC 6121, Appendix A)
	version bigint           NOT NULL, -- offset of the event that made it what it is
	removed boolean          NOT NULL,
	request bytea,                     -- a pending contact's subscribe: event.Presence
	CONSTRAINT roster_item_key PRIMARY KEY (account, contact)
);
CREATE INDEX roster_item_from ON views.roster_item (contact, account) WHERE state & 2 <> 0 AND NOT removed;
CREATE INDEX roster_item_removed ON views.roster_item (version) WHERE removed;

-- A connected resource; of a full JID only the latest binding. An update of
-- its presence touches no index, so there is room for it in the same page.
CREATE TABLE views.resource (
	account      text COLLATE "C" NOT NULL,
	resource     text COLLATE "C" NOT NULL, -- resourcepart
	partition    integer          NOT NULL,
	binding      uuid             NOT NULL, -- id of its ResourceBound
	edge         text COLLATE "C" NOT NULL,
	epoch        bigint           NOT NULL,
	available    boolean          NOT NULL,
	show         text             NOT NULL, -- "", away, chat, dnd or xa
	status       text             NOT NULL,
	priority     smallint         NOT NULL,
	payload      bytea            NOT NULL,
	lang         text             NOT NULL,
	stanza_id    text             NOT NULL,
	version      bigint           NOT NULL, -- offset of the event that made it what it is
	bound_offset bigint           NOT NULL, -- offset of its ResourceBound
	since        timestamptz      NOT NULL, -- of what it is: available, or else connected
	CONSTRAINT resource_key PRIMARY KEY (account, resource)
) WITH (fillfactor = 70);
CREATE INDEX resource_edge ON views.resource (partition, edge, epoch);

-- Who got directed available presence of a resource and is no subscriber
-- (RFC 6121 §4.6.3).
CREATE TABLE views.directed (
	account  text COLLATE "C" NOT NULL,
	resource text COLLATE "C" NOT NULL,
	target   text COLLATE "C" NOT NULL, -- bare or full JID
	CONSTRAINT directed_key PRIMARY KEY (account, resource, target)
);

-- Storable messages that nobody took yet.
CREATE TABLE views.inbox (
	account  text COLLATE "C" NOT NULL,
	"offset" bigint           NOT NULL, -- of the MessageAccepted
	id       uuid             NOT NULL, -- stanza id (XEP-0359)
	at       timestamptz      NOT NULL,
	sender   text             NOT NULL, -- full JID
	resource text             NOT NULL, -- addressed; "" for the bare JID
	accepted bytea            NOT NULL, -- event.MessageAccepted
	CONSTRAINT inbox_key PRIMARY KEY (account, "offset")
);

-- How far each partition of the topic account is folded into this schema.
CREATE TABLE views.projected (
	partition    integer     NOT NULL,
	next_offset  bigint      NOT NULL, -- the first that is not folded; -1: this schema was swapped out
	marks        bytea       NOT NULL, -- account.Marks as of next_offset
	fold_version integer     NOT NULL,
	updated_at   timestamptz NOT NULL,
	CONSTRAINT projected_key PRIMARY KEY (partition)
) WITH (fillfactor = 50);

-- Who sees the presence of account.
CREATE VIEW views.audience AS
SELECT account, contact FROM views.roster_item WHERE state & 2 <> 0 AND NOT removed;

-- Whom owner sees online: asked of the contact's side, which decides.
CREATE VIEW views.online_friends AS
SELECT i.contact AS owner, i.account AS contact, r.resource, r.show, r.status, r.priority, r.since
FROM views.roster_item i
JOIN views.resource r ON r.account = i.account AND r.available
WHERE i.state & 2 <> 0 AND NOT i.removed;
