-- +goose Up

-- SCRAM keys (RFC 5802); no password is kept.
CREATE TABLE auth.account (
	account           text COLLATE "C" NOT NULL, -- bare JID
	live              boolean          NOT NULL DEFAULT false, -- its AccountCreated is answered
	sha1_salt         bytea            NOT NULL,
	sha1_iterations   integer          NOT NULL,
	sha1_stored_key   bytea            NOT NULL,
	sha1_server_key   bytea            NOT NULL,
	sha256_salt       bytea            NOT NULL,
	sha256_iterations integer          NOT NULL,
	sha256_stored_key bytea            NOT NULL,
	sha256_server_key bytea            NOT NULL,
	created_at        timestamptz      NOT NULL DEFAULT now(),
	CONSTRAINT account_key PRIMARY KEY (account)
);
