-- name: GapRunStart :exec
INSERT INTO gap_runs (run_id, kind, asked_by, cluster_id, model_training_date, lookback_days)
VALUES (@run_id, @kind, @asked_by, sqlc.narg(cluster_id), @model_training_date, @lookback_days);

-- name: GapRunAdd :exec
-- In the transaction that writes the rows: what it says is what is there.
UPDATE gap_runs SET gaps_filled = gaps_filled + @gaps, records = records + @records WHERE run_id = @run_id;

-- name: GapRunFinish :exec
UPDATE gap_runs SET finished_at = now(), gaps_found = @gaps_found, coverage = sqlc.narg(coverage), error = @error WHERE run_id = @run_id;

-- name: GapRunAbandon :exec
-- Only one fills at a time: what is still open was left by a replica that died.
UPDATE gap_runs SET finished_at = now(), error = 'its replica ended before it did'
WHERE kind = 'fill' AND finished_at IS NULL AND run_id <> @run_id;

