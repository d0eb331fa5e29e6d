-- +goose Up
-- ml's whole answer: verdict of every node, where pods were to land, what was weighed, which model
-- judged the risk. Beside the optimization and not in it, for stories are read several times a second.
CREATE TABLE optimization_decisions (
    optimization_id uuid PRIMARY KEY REFERENCES optimization_history (optimization_id) ON DELETE CASCADE,
    decision        jsonb NOT NULL,
    decided_at      timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE optimization_decisions;
