package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstDelay = time.Second
	lastDelay  = time.Minute
	// refusedDelay is the longest wait after an answer that repeating does not change.
	refusedDelay = 5 * time.Minute
	// healthyAfter is how long a session must live to clear the count of failures;
	// one that ends at once would otherwise be retried at full speed.
	healthyAfter = 30 * time.Second
)

// superseded is the reason of a go-away by which another agent is the newer.
const superseded = "superseded"

// goAway is central's word to connect anew.
type goAway struct {
	reason string
	after  time.Duration
}

func (g *goAway) Error() string { return fmt.Sprintf("central said go away: %s", g.reason) }

// backoff says how long to wait before the next session.
type backoff struct {
	failures int
	// spread is over how long to return after a session that was healthy: the first
	// try is the herd, for all lost the same replica in the same second.
	spread func() time.Duration
}

// next takes how the last session ended and how long it was healthy.
func (b *backoff) next(err error, lived time.Duration) time.Duration {
	if lived >= healthyAfter {
		b.failures = 0
	}
	var away *goAway
	if errors.As(err, &away) {
		return awayDelay(away)
	}
	if b.failures++; b.failures == 1 && lived > 0 {
		return max(rand.N(b.spread())+1, askedDelay(err))
	}
	limit := lastDelay
	if refused(err) {
		limit = refusedDelay
	}
	// Full jitter: agents that lost the same replica must not come back in step.
	ceiling := min(firstDelay<<min(b.failures-1, 20), limit)
	delay := rand.N(ceiling) + 1
	return max(delay, askedDelay(err))
}

func awayDelay(away *goAway) time.Duration {
	after := away.after
	if away.reason == superseded {
		// Another agent of this cluster is newer; coming back soon would throw it out.
		after = max(after, refusedDelay)
	}
	return after + rand.N(after/5+firstDelay/2)
}

// refused tells answers that only a person or a new version will change. They
// are tried again all the same, for keys get fixed.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.Unimplemented, codes.InvalidArgument:
		return true
	default:
		return false
	}
}

// askedDelay is what central asked for in RetryInfo.
func askedDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(info.GetRetryDelay().AsDuration(), refusedDelay)
		}
	}
	return 0
}
