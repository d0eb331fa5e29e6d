package auth

import (
	"context"
	"time"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// AgentPerMinute is the least number of unary calls a minute for agents and
// other servers. One that polls makes some twenty; a drain's results come in bursts.
const AgentPerMinute = 600

const (
	// AnyonePerMinute is how many calls without a credential an address may make.
	AnyonePerMinute = 120
	// PagesPerMinute is the least number of calls a minute for somebody who is signed in with a browser: a page
	// makes a dozen when it opens, and some more for whatever happens while it is looked at.
	PagesPerMinute = 1200
	// FailuresPerMinute is how many wrong credentials an address may try to sign in with.
	FailuresPerMinute = 10
)

// Bucket counts calls.
type Bucket interface {
	Allow(ctx context.Context, key string, perMinute int) (wait time.Duration, ok bool)
}

// Limiter limits calls by key: people as configured, agents and servers ten
// times as much, and the UI's pages by who is signed in, apart from the calls of the same key; those without a credential by the address they come from. A stream counts once, when it opens.
type Limiter struct {
	bucket Bucket
	people int
}

// NewLimiter limits people to perMinute calls a minute; 0: nobody is limited.
func NewLimiter(bucket Bucket, perMinute int) *Limiter {
	return &Limiter{bucket: bucket, people: perMinute}
}

// Allow implements rpc.Limiter.
func (l *Limiter) Allow(ctx context.Context) (time.Duration, bool) {
	caller := From(ctx)
	switch {
	case l.people <= 0:
		return 0, true
	case caller.Kind == accessv1.Caller_CALLER_UNSPECIFIED:
		return l.bucket.Allow(ctx, "address:"+rpc.ClientAddress(ctx), AnyonePerMinute)
	case caller.SessionID.Valid:
		return l.bucket.Allow(ctx, "pages:"+caller.id().String(), max(PagesPerMinute, l.people))
	default:
		return l.bucket.Allow(ctx, caller.id().String(), l.perMinute(caller))
	}
}

func (l *Limiter) perMinute(caller Caller) int {
	switch caller.Kind {
	case accessv1.Caller_CALLER_AGENT, accessv1.Caller_CALLER_SERVICE:
		return max(AgentPerMinute, 10*l.people)
	default:
		return l.people
	}
}
