-- +goose Up

-- Sessions get copies of their account's messages (XEP-0280) also after they
-- were resumed elsewhere.
ALTER TABLE views.resource ADD COLUMN copies boolean NOT NULL DEFAULT false;
ALTER TABLE views.ended ADD COLUMN copies boolean NOT NULL DEFAULT false;
