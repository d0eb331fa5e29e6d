-- name: SignInBegin :exec
INSERT INTO sign_ins (state_hash, browser_hash, nonce, verifier, return_to, expires_at)
VALUES (@state_hash, @browser_hash, @nonce, @verifier, @return_to, @expires_at);

-- name: SignInTake :one
-- Once: whoever comes second finds nothing.
DELETE FROM sign_ins WHERE state_hash = @state_hash AND browser_hash = @browser_hash
RETURNING nonce, verifier, return_to, expires_at;

-- name: SignInPrune :exec
DELETE FROM sign_ins WHERE expires_at < now();
