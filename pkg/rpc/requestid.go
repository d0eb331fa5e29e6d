package rpc

import (
	"context"
	"regexp"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
)

const requestIDKey = "x-request-id"

type requestIDContext struct{}

// A caller's id is taken only if it can harm no log or header.
var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// NewRequestID makes an id as the guide writes them: req-….
func NewRequestID() string { return "req-" + uuid.NewString() }

// RequestID is the id of the call in ctx.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDContext{}).(string)
	return id
}

func withRequestID(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, id := range md.Get(requestIDKey) {
		if goodRequestID.MatchString(id) {
			return context.WithValue(ctx, requestIDContext{}, id)
		}
	}
	return context.WithValue(ctx, requestIDContext{}, NewRequestID())
}
