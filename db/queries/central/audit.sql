-- name: AuditAppend :exec
INSERT INTO audit_log (actor, action, customer_id, cluster_id, subject, detail)
VALUES (@actor, @action, @customer_id, @cluster_id, @subject, @detail);
