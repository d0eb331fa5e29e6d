-- +goose Up
-- ml reads, and only what it decides from: no keys, no customers' roles.
GRANT USAGE ON SCHEMA public TO ml_server_ro;
GRANT SELECT ON clusters, nodes, pods, pod_disruption_budgets, spot_events, optimization_history,
    cluster_metrics TO ml_server_ro;

-- +goose Down
REVOKE SELECT ON clusters, nodes, pods, pod_disruption_budgets, spot_events, optimization_history,
    cluster_metrics FROM ml_server_ro;
REVOKE USAGE ON SCHEMA public FROM ml_server_ro;
