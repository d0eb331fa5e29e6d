package auth

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const sessionKey = "x-session-secret"

// HandSecret hands the secret of a new session to the front door, as header of the call's answer: no body
// has it, and REST passes no such header on.
func HandSecret(ctx context.Context, secret string) error {
	return grpc.SetHeader(ctx, metadata.Pairs(sessionKey, secret))
}

// HandedSecret is the secret of a new session in the header of an answer, "" if there is none.
func HandedSecret(header metadata.MD) string {
	for _, secret := range header.Get(sessionKey) {
		return secret
	}
	return ""
}
