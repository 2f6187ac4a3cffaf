-- +goose Up

-- Whoever asked for a request may take it back until its intent stands: the
-- proposer marks the signing service's task, whose version tells who is at work
-- on it.
ALTER TABLE countersign.task ADD COLUMN cancelled boolean NOT NULL DEFAULT false;
