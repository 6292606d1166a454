-- +goose Up

-- What accounts have set of which messages their archives keep (XEP-0441).
-- Nothing is here of an account that keeps everything.
CREATE TABLE views.archive (
	account text COLLATE "C" NOT NULL,
	version bigint           NOT NULL, -- offset of the event that set it
	keeps   smallint         NOT NULL, -- by default: 1 all, 2 nothing, 3 what is from or to who is in the roster
	always  text[]           NOT NULL, -- JIDs, bare or full, sorted
	never   text[]           NOT NULL,
	CONSTRAINT archive_key PRIMARY KEY (account)
);
