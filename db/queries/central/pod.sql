-- name: PodUpsertMany :exec
INSERT INTO pods (cluster_id, pod_uid, namespace, pod_name, node_name, phase, ready, detail)
SELECT @cluster_id, v.pod_uid, v.namespace, v.pod_name, v.node_name, v.phase, v.ready, v.detail::jsonb
FROM (SELECT unnest(@pod_uids::text[]) AS pod_uid, unnest(@namespaces::text[]) AS namespace, unnest(@pod_names::text[]) AS pod_name,
    unnest(@node_names::text[]) AS node_name, unnest(@phases::text[]) AS phase, unnest(@readies::bool[]) AS ready,
    unnest(@details::text[]) AS detail) v
ON CONFLICT (cluster_id, pod_uid) DO UPDATE SET node_name = EXCLUDED.node_name, phase = EXCLUDED.phase,
    ready = EXCLUDED.ready, detail = EXCLUDED.detail, updated_at = now();

-- name: PodDeleteMany :exec
DELETE FROM pods WHERE cluster_id = @cluster_id AND pod_uid = ANY (@pod_uids::text[]);

-- name: PodDeleteAbsent :exec
DELETE FROM pods WHERE cluster_id = @cluster_id AND NOT pod_uid = ANY (@pod_uids::text[]);

-- name: PodLive :many
SELECT detail FROM pods WHERE cluster_id = @cluster_id ORDER BY namespace, pod_name;

-- name: BudgetUpsertMany :exec
INSERT INTO pod_disruption_budgets (cluster_id, budget_uid, detail)
SELECT @cluster_id, v.budget_uid, v.detail::jsonb
FROM (SELECT unnest(@budget_uids::text[]) AS budget_uid, unnest(@details::text[]) AS detail) v
ON CONFLICT (cluster_id, budget_uid) DO UPDATE SET detail = EXCLUDED.detail, updated_at = now();

-- name: BudgetDeleteMany :exec
DELETE FROM pod_disruption_budgets WHERE cluster_id = @cluster_id AND budget_uid = ANY (@budget_uids::text[]);

-- name: BudgetDeleteAbsent :exec
DELETE FROM pod_disruption_budgets WHERE cluster_id = @cluster_id AND NOT budget_uid = ANY (@budget_uids::text[]);

-- name: BudgetLive :many
SELECT detail FROM pod_disruption_budgets WHERE cluster_id = @cluster_id ORDER BY budget_uid;

-- name: PodHomeless :many
-- Pods the scheduler has found no node for.
SELECT detail FROM pods WHERE cluster_id = @cluster_id AND phase = 'Pending' AND node_name = '' ORDER BY namespace, pod_name;

-- name: PodPage :many
SELECT pod_uid, namespace, pod_name, detail FROM pods
WHERE cluster_id = @cluster_id
    AND (@namespace::text = '' OR namespace = @namespace)
    AND (@node_name::text = '' OR node_name = @node_name)
    AND (@phase::text = '' OR phase = @phase)
    AND (@search::text = '' OR strpos(lower(pod_name), lower(@search)) > 0)
    AND (NOT @after::bool OR (namespace, pod_name, pod_uid) > (@after_namespace::text, @after_name::text, @after_uid::text))
ORDER BY namespace, pod_name, pod_uid
LIMIT @max_rows;
