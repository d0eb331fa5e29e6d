-- name: MemberList :many
-- By e-mail, a page.
SELECT * FROM members
WHERE deleted_at IS NULL AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(after_email)::text IS NULL OR (email, member_id) > (sqlc.narg(after_email)::text, @after_id::uuid))
ORDER BY email, member_id
LIMIT @rows;

-- name: MemberByID :one
-- Those who were shut out, too.
SELECT * FROM members
WHERE member_id = @member_id AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id))
FOR NO KEY UPDATE;

-- name: MemberByEmail :one
SELECT m.*, c.status AS customer_status FROM members m JOIN customers c USING (customer_id)
WHERE m.email = lower(@email::text) AND m.deleted_at IS NULL;

-- name: MemberCreate :one
INSERT INTO members (customer_id, email, role, created_by)
VALUES (@customer_id, lower(@email::text), @role, @created_by)
RETURNING *;

-- name: MemberSetRole :one
UPDATE members SET role = @role, version = version + 1 WHERE member_id = @member_id RETURNING *;

-- name: MemberDelete :exec
UPDATE members SET deleted_at = now(), version = version + 1 WHERE member_id = @member_id AND deleted_at IS NULL;

-- name: MemberSeen :exec
UPDATE members SET last_seen_at = now() WHERE member_id = @member_id;
