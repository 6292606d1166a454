-- +goose Up

-- What ends tokens to log in with (XEP-0484) before their time, for each
-- client that has used or ended one. The tokens themselves are stored nowhere.
CREATE TABLE auth.token_mark (
	account    text COLLATE "C" NOT NULL, -- bare JID
	client     uuid             NOT NULL, -- its id as a user agent (XEP-0388)
	generation bigint           NOT NULL, -- how often it has ended its tokens
	period     bigint           NOT NULL, -- of the newest token that it has used
	CONSTRAINT token_mark_key PRIMARY KEY (account, client),
	CONSTRAINT token_mark_account FOREIGN KEY (account) REFERENCES auth.account ON DELETE CASCADE
);
