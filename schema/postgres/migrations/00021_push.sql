-- +goose Up

-- The push services of an account that hear of messages that wait (XEP-0357).
CREATE TABLE views.push (
	account text COLLATE "C" NOT NULL,
	service text COLLATE "C" NOT NULL, -- JID
	node    text COLLATE "C" NOT NULL, -- may be empty
	version bigint           NOT NULL, -- offset of the event that registered it
	options bytea            NOT NULL, -- XML of the publish options; may be empty
	CONSTRAINT push_key PRIMARY KEY (account, service, node)
);

-- What a push service is to be told, from the commit that folded the message
-- until the service has it, does not want it, or time is up.
CREATE TABLE run.push (
	account    text COLLATE "C" NOT NULL,
	service    text COLLATE "C" NOT NULL,
	node       text COLLATE "C" NOT NULL,
	"offset"   bigint           NOT NULL, -- of the message, in the account's history
	domain     text COLLATE "C" NOT NULL, -- of the service: the component that takes it
	created_at timestamptz      NOT NULL DEFAULT now(),
	due_at     timestamptz      NOT NULL DEFAULT now(), -- later while an edge waits for an answer, or after a failure
	attempts   integer          NOT NULL DEFAULT 0,
	CONSTRAINT push_key PRIMARY KEY (account, service, node, "offset")
);
CREATE INDEX push_due ON run.push (domain, due_at);
CREATE INDEX push_created ON run.push (created_at);
