package agents

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const (
	// opening bounds the hellos that are worked on at once: more would only wait for
	// the database, with their callers' patience running.
	opening = 64
	// comeAgain is the least and the most that a caller above the rate is asked to wait.
	comeAgainMin, comeAgainMax = 5 * time.Second, 30 * time.Second
	// spreadPerThousand is over how long a thousand agents come back after a replica
	// was lost, spreadMost over how long however many do.
	spreadPerThousand, spreadMost, spreadLeast = 10 * time.Second, 40 * time.Second, 500 * time.Millisecond
)

// gate lets streams in at the speed that a replica bears.
type gate struct {
	streams *rate.Limiter
	slots   chan struct{}
}

func newGate(perSecond int) *gate {
	return &gate{streams: rate.NewLimiter(rate.Limit(perSecond), perSecond), slots: make(chan struct{}, opening)}
}

// admit says whether a stream may open now; if not, when to come again, which
// differs so that those who are refused together do not return together.
func (g *gate) admit() error {
	if g.streams.Allow() {
		return nil
	}
	return later("too many agents connect at once", comeAgainMin+rand.N(comeAgainMax-comeAgainMin))
}

func later(why string, wait time.Duration) error {
	return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "%s", why).With("retry_after_seconds", wait.Seconds())
}

// enter waits for a slot to open a session; leave gives it back.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// knocks bounds how often one cluster connects, on all replicas together.
func (s *Server) knocks(ctx context.Context, cluster uuid.UUID) error {
	wait, ok := s.Bus.Limiter().Allow(ctx, "connect:"+cluster.String(), s.ConnectsPerMinute)
	if ok {
		return nil
	}
	return later("this cluster connects too often", wait)
}

// spread is over how long the agents of this replica should come back when it is
// lost without a word.
func (s *Server) spread() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(time.Duration(len(s.sessions))*spreadPerThousand/1000, spreadLeast), spreadMost)
}
