// Package interruption is the story of one interruption: said → node found → drained and replaced at once → gone.
//
// Whatever AWS says of an instance, and however often, by SQS, by the instance's
// own metadata or by the poll, there is one row of work about it, and what the row
// knows only grows: so the order in which things are said does not matter. Any
// replica may die between any two lines; the next one finds the row.
package interruption

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// actor of what this room does, in tasks and in the audit log.
const actor = "interruption_service"

// Policy is what an operator decides about interruptions.
type Policy struct {
	// ActOnRebalance drains a node that AWS only recommends to leave. Peers' users
	// got loops of it, so a recommendation is else only remembered as a risk.
	ActOnRebalance bool
	// PollEvery is how often EC2 is asked for what no event told; 0: never.
	PollEvery time.Duration
}

// DefaultPolicy acts on what is certain, and asks often enough that a missed event
// is found within a minute.
func DefaultPolicy() Policy { return Policy{PollEvery: 30 * time.Second} }

// Config is what the service needs.
type Config struct {
	Store     *store.Store
	Dispatch  *dispatch.Dispatcher
	Cloud     *cloud.Cloud
	Decisions mlv1.DecisionServiceClient
	Policy    Policy
	Log       *slog.Logger
}

// Service takes in what is said and carries interruptions on.
type Service struct {
	Config
	queue   *store.Queue
	census  *census
	glances *glances
	// first lets notices be taken in before anything is launched.
	first   precedence
	notices metric.Int64Counter
	emptied metric.Float64Histogram
}

// New makes a service; give it the queue before it is used.
func New(cfg Config) *Service {
	s := &Service{Config: cfg, census: newCensus(cfg.Cloud), glances: &glances{store: cfg.Store}}
	meter := otel.Meter("cloudoptim/interruption")
	// The SDK's instruments fail only for malformed names; a nil one would panic.
	s.notices, _ = meter.Int64Counter("cloudoptim_interruption_notices_total",
		metric.WithDescription("what was said of instances, by source, type and what became of it"))
	s.emptied, _ = meter.Float64Histogram("cloudoptim_interruption_drained_seconds",
		metric.WithUnit("s"), metric.WithDescription("from the first word of an interruption to an empty node"))
	return s
}

// Register adds the worker that launches replacements. The queue that is made
// with workers must be handed to Use.
func (s *Service) Register(workers *river.Workers) {
	river.AddWorker(workers, &replacer{service: s})
}

// Use sets the queue that jobs are written to.
func (s *Service) Use(queue *store.Queue) { s.queue = queue }

// Run follows interruptions up and polls EC2, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	polls := make(chan struct{})
	go func() {
		defer close(polls)
		s.patrol(ctx)
	}()
	s.attend(ctx)
	<-polls
	return nil
}

// account is where and as whom to act for a cluster.
func account(a *store.Account) cloud.Account {
	return cloud.Account{Region: a.Region, RoleARN: a.RoleARN, ExternalID: a.ExternalID, ClusterName: a.ClusterName}
}
