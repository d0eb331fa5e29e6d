-- name: ModelsInUse :many
-- Without the bytes, which are asked for only when a version is new.
SELECT model_version, kind, format, sha256, size_bytes, state FROM models WHERE state IN ('live', 'shadow');

-- name: ModelContent :one
SELECT content FROM models WHERE model_version = @model_version;
