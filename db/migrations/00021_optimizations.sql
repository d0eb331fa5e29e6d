-- +goose Up
-- Optimizations without what ml was asked, which is megabytes in each: lists and pages are read from here.
CREATE VIEW optimizations WITH (security_invoker = true) AS SELECT
    optimization_id, cluster_id, optimization_type, recommendations, execution_plan, estimated_savings,
    actual_savings, status, created_at, executed_at, completed_at, error_message, options, requested_by,
    current_step, generation, wake_at, cost_before_per_hour, cost_after_per_hour, traceparent, approval, mode,
    dry_run, reason, decided_by, decided_at, decision_reason, snoozed_until, expires_at, cancelled_at, waiting_code,
    waiting_message, waiting_since, waiting_until, plan, plan_etag, plan_content, confidence_score, promised_savings,
    promised_drains
FROM optimization_history;

-- +goose Down
DROP VIEW optimizations;
