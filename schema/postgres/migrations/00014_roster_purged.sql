-- +goose Up

-- The highest version of a removed roster item whose tombstone is purged. A
-- client that has an older roster of the account needs the whole one (RFC 6121
-- §2.6.3); of an account without a row nothing is missing.
CREATE TABLE run.roster_purged (
	account text COLLATE "C" NOT NULL, -- bare JID
	version bigint           NOT NULL,
	CONSTRAINT roster_purged_key PRIMARY KEY (account)
);
INSERT INTO run.roster_purged (account, version)
SELECT a.account, p.version FROM views.account a JOIN run.purged p ON p.partition = a.partition;
