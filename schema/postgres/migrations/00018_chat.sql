-- +goose Up

-- The latest storable messages of an account whose senders' clients gave them
-- an id of their own (XEP-0359): what comes again under it is a copy. Small and
-- often written, so with room for the next version in the same page.
CREATE TABLE views.origins (
	account text COLLATE "C" NOT NULL,
	latest  bytea            NOT NULL, -- message.Origins: hashes of sender and id, with offsets
	CONSTRAINT origins_key PRIMARY KEY (account)
) WITH (fillfactor = 50);

-- Up to where what MessageWithheld names is taken out of the archive.
ALTER TABLE run.history ADD COLUMN swept_offset bigint NOT NULL DEFAULT 0; -- all MessageWithheld below it are done
