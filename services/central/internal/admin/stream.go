package admin

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// byeWithin is how long a dashboard that does not read may take to hear the end.
const byeWithin = 5 * time.Second

// Stream sends what changes, as it happens. It begins with a heartbeat, whose
// sequence is where live news begins.
func (s *Server) Stream(req *adminv1.StreamRequest, stream grpc.ServerStreamingServer[adminv1.StreamResponse]) error {
	ctx := stream.Context()
	customer, err := auth.Customer(ctx)
	if err != nil {
		return err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return err
	}
	if !s.screens.enter() {
		return fault.Unavailable("central", nil)
	}
	defer s.screens.leave()
	live := s.Bus.ListenDashboard(customer)
	defer live.Close()
	news, newest, err := s.Feed.Open(ctx)
	if err != nil {
		return err
	}
	defer news.Close()
	d := &screen{
		server: s, stream: stream, live: live, news: news, newest: newest,
		only: store.Only{Customer: customer, Cluster: cluster, Types: req.GetTypes()},
	}
	done := make(chan error, 1)
	go func() { done <- d.recovered(ctx, func() error { return d.show(ctx, req.AfterSequence) }) }()
	var why error
	select {
	case err := <-done:
		return err
	case <-news.Slow():
		why = tooSlow()
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-s.screens.closing:
		why = fault.Unavailable("central", nil)
	}
	// It hears why, unless it reads nothing at all: then the end of this call frees who is sending.
	select {
	case err := <-done:
		return err
	case <-time.After(byeWithin):
		return why
	}
}

// age is when a stream ends so that dashboards spread over replicas: jittered, so
// that those that came together do not leave together.
func (s *Server) age() (<-chan time.Time, func()) {
	if s.MaxStreamAge <= 0 {
		return nil, func() {}
	}
	timer := time.NewTimer(s.MaxStreamAge - rand.N(s.MaxStreamAge/10+1)) //nolint:gosec // spread, no secret
	return timer.C, func() { timer.Stop() }
}

// Leave ends all streams with a word, and waits until it is said or ctx ends.
func (s *Server) Leave(ctx context.Context) { s.screens.close(ctx) }

// screens counts the open streams.
type screens struct {
	mu      sync.Mutex
	open    sync.WaitGroup
	closed  bool
	closing chan struct{}
}

func newScreens() *screens { return &screens{closing: make(chan struct{})} }

// enter is false when no stream may begin any more.
func (s *screens) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open.Add(1)
	return true
}

func (s *screens) leave() { s.open.Done() }

func (s *screens) close(ctx context.Context) {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() { s.open.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}
