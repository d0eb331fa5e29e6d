-- name: ModelCreate :execrows
-- No row: these bytes are there already.
INSERT INTO models (model_version, name, kind, format, sha256, size_bytes, content, checked, schema_ok, created_by)
VALUES (left(@sha256::text, 16), @name, @kind, @format, @sha256::text, @size_bytes, @content, @checked, @schema_ok, @created_by)
ON CONFLICT (sha256) DO NOTHING;

-- name: ModelChecked :exec
-- A model in use stays what it is: ml refuses by itself what it cannot load.
UPDATE models SET checked = @checked, schema_ok = @schema_ok OR state IN ('shadow', 'live'), checked_at = now()
WHERE model_version = @model_version;

-- name: ModelList :many
SELECT model_version, name, kind, format, sha256, size_bytes, state, checked, schema_ok, created_at, created_by, promoted_at,
    promoted_by, retired_at, retired_by, replaced_version
FROM models
WHERE @after_version::text = '' OR created_at < @after_at::timestamptz OR created_at = @after_at::timestamptz AND model_version > @after_version::text
ORDER BY created_at DESC, model_version LIMIT @max_rows;

-- name: ModelByVersion :one
SELECT model_version, name, kind, format, sha256, size_bytes, state, checked, schema_ok, created_at, created_by, promoted_at,
    promoted_by, retired_at, retired_by, replaced_version
FROM models WHERE model_version = @model_version;

-- name: ModelContent :one
SELECT format, sha256, content FROM models WHERE model_version = @model_version;

-- name: ModelLock :exec
-- Changes of a kind's models happen one after another: two promotions at once would
-- otherwise find the same live model.
SELECT pg_advisory_xact_lock(hashtext('models:' || @kind::text));

-- name: ModelLive :many
-- None or one.
SELECT model_version, replaced_version FROM models WHERE kind = @kind AND state = 'live';

-- name: ModelStepBack :exec
-- Takes the shadow of a kind back to what it was before.
UPDATE models SET state = CASE WHEN promoted_at IS NULL THEN 'uploaded' ELSE 'retired' END,
    retired_at = CASE WHEN promoted_at IS NULL THEN NULL ELSE now() END,
    retired_by = CASE WHEN promoted_at IS NULL THEN '' ELSE @actor::text END
WHERE kind = @kind AND state = 'shadow';

-- name: ModelShadow :exec
UPDATE models SET state = 'shadow', retired_at = NULL, retired_by = '' WHERE model_version = @model_version;

-- name: ModelPromote :exec
UPDATE models SET state = 'live', promoted_at = now(), promoted_by = @actor, retired_at = NULL, retired_by = '',
    replaced_version = sqlc.narg(replaced_version)
WHERE model_version = @model_version;

-- name: ModelRestore :exec
-- Live again, as a roll back has it: what it replaced once stays, so that the next
-- roll back goes one further.
UPDATE models SET state = 'live', promoted_at = now(), promoted_by = @actor, retired_at = NULL, retired_by = ''
WHERE model_version = @model_version;

-- name: ModelRetire :exec
UPDATE models SET state = 'retired', retired_at = now(), retired_by = @actor
WHERE model_version = @model_version AND state <> 'retired';
