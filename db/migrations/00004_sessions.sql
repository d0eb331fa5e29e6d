-- +goose Up
-- The lease by which the agent of the newest session leads, and who it is: a
-- leader that was replaced is refused, and two agents of one key are noticed.
ALTER TABLE clusters
    ADD COLUMN leader_epoch     bigint NOT NULL DEFAULT 0,
    ADD COLUMN session_agent_id varchar(253) NOT NULL DEFAULT '';
-- Every row is written again each few seconds, to note that its agent lives: with
-- room in its page that touches no index.
ALTER TABLE clusters SET (fillfactor = 50);

-- +goose Down
ALTER TABLE clusters RESET (fillfactor);
ALTER TABLE clusters DROP COLUMN leader_epoch, DROP COLUMN session_agent_id;
