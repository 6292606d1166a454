-- +goose Up

-- What accounts have set of what they let through: block lists (XEP-0191),
-- privacy lists (XEP-0016) and invisible sessions (XEP-0186). Nothing is here
-- of an account that has set nothing.
CREATE TABLE views.privacy (
	account      text COLLATE "C" NOT NULL,
	partition    integer          NOT NULL,
	blocked      text[]           NOT NULL, -- JIDs of any form, sorted
	default_list text             NOT NULL, -- name; "" if there is none
	state        bytea            NOT NULL, -- event.Privacy: these and all the rest
	policy       bytea            NOT NULL, -- event.Policy, compiled from it and the roster; empty: nothing is in use
	CONSTRAINT privacy_key PRIMARY KEY (account)
);
CREATE INDEX privacy_partition ON views.privacy (partition);

-- Connected resources whose presence a subscriber must not see.
CREATE TABLE views.hidden (
	account  text COLLATE "C" NOT NULL,
	resource text COLLATE "C" NOT NULL,
	viewer   text COLLATE "C" NOT NULL, -- bare JID; "" for everybody
	CONSTRAINT hidden_key PRIMARY KEY (account, resource, viewer)
);

-- Contacts whose presence the account does not take in.
CREATE TABLE views.refused (
	account text COLLATE "C" NOT NULL,
	contact text COLLATE "C" NOT NULL, -- bare JID
	CONSTRAINT refused_key PRIMARY KEY (account, contact)
);

-- Whom owner sees online: asked of the contact's side, which decides.
CREATE OR REPLACE VIEW views.online_friends AS
SELECT i.contact AS owner, i.account AS contact, r.resource, r.show, r.status, r.priority, r.since
FROM views.roster_item i
JOIN views.resource r ON r.account = i.account AND r.available
WHERE i.state & 2 <> 0 AND NOT i.removed
AND NOT EXISTS (SELECT FROM views.hidden h WHERE h.account = r.account AND h.resource = r.resource AND h.viewer IN ('', i.contact))
AND NOT EXISTS (SELECT FROM views.refused f WHERE f.account = i.contact AND f.contact = i.account);
