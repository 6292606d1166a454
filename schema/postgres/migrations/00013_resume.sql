-- +goose Up

-- Sessions that go on with an earlier one's presence, and stream management
-- (XEP-0198).
ALTER TABLE views.resource
	ADD COLUMN inherited    boolean NOT NULL DEFAULT false, -- what it is, an earlier session of the resource said
	ADD COLUMN session      uuid    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- binding with which its session began
	ADD COLUMN began_offset bigint  NOT NULL DEFAULT 0,     -- offset of that ResourceBound
	ADD COLUMN handled      bigint  NOT NULL DEFAULT 0,     -- the client's stanza up to which all events are there; -1: not known
	ADD COLUMN ahead        bytea   NOT NULL DEFAULT '';    -- events beyond a gap: presence.Handled
UPDATE views.resource SET session = binding, began_offset = bound_offset;

-- Sessions under stream management whose edge died or stopped: the client may
-- resume them for a while.
CREATE TABLE views.ended (
	account      text COLLATE "C" NOT NULL,
	binding      uuid             NOT NULL, -- the last of the session
	session      uuid             NOT NULL, -- binding with which it began
	resource     text COLLATE "C" NOT NULL,
	began_offset bigint           NOT NULL,
	handled      bigint           NOT NULL, -- as in resource
	ahead        bytea            NOT NULL,
	presence     bytea,                     -- event.Presence as it was; NULL: not available
	ended_offset bigint           NOT NULL, -- of the event that ended it
	ended_at     timestamptz      NOT NULL,
	CONSTRAINT ended_key PRIMARY KEY (account, binding)
);
