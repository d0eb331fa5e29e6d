// Package dispatch is a task's life: written, announced, delivered, finished or expired.
package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// OfferLease is how long an agent may take to accept a task before it is offered again.
	OfferLease = 5 * time.Second
	// RunLease is how long an accepted task lives without a word of progress.
	RunLease = 30 * time.Second
	// sweepEvery bounds the delay of a task whose announcement was lost: with Redis
	// dead it is at most this and a sweep's own time.
	sweepEvery = time.Second
	// expireGrace lets a result that is on its way at the deadline still count.
	expireGrace = 15 * time.Second
)

// Bus wakes other replicas; it may lose messages.
type Bus interface {
	Publish(ctx context.Context, topic string, payload []byte) error
	// Wake reaches this replica alone.
	Wake(topic string)
}

// Dispatcher writes tasks and sees that they end. The rows are the truth; the
// bus only makes things faster.
type Dispatcher struct {
	store *store.Store
	bus   Bus
	log   *slog.Logger
}

// New makes a dispatcher.
func New(s *store.Store, bus Bus, log *slog.Logger) *Dispatcher {
	return &Dispatcher{store: s, bus: bus, log: log}
}

// Topics begins the topics of all clusters.
const Topics = "tasks:"

// Topic is where the waiting tasks of a cluster are announced.
func Topic(cluster uuid.UUID) string { return Topics + cluster.String() }

// Add writes tasks with the transaction of tx; announce them once it is
// committed. Writing a task again changes nothing.
func (d *Dispatcher) Add(ctx context.Context, tx *store.Store, tasks ...*fleetv1.Task) error {
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	for _, task := range tasks {
		if task.Traceparent == "" {
			task.Traceparent = carrier.Get("traceparent")
		}
		if _, err := tx.AddTask(ctx, task); err != nil {
			return err
		}
	}
	return nil
}

// Announce wakes whichever replica holds the cluster's stream.
func (d *Dispatcher) Announce(ctx context.Context, cluster uuid.UUID) {
	if err := d.bus.Publish(ctx, Topic(cluster), nil); err != nil {
		d.log.WarnContext(ctx, "announcing tasks; the sweep will find them", "cluster_id", cluster, "error", err)
	}
}

// Cancel ends waiting tasks and asks the agent to stop those it has.
func (d *Dispatcher) Cancel(ctx context.Context, cluster uuid.UUID, reason string, tasks ...uuid.UUID) error {
	if err := d.store.CancelTasks(ctx, tasks, reason); err != nil {
		return err
	}
	d.Announce(ctx, cluster)
	return nil
}

// Run sweeps until ctx ends: leases that ran out, deadlines that passed,
// announcements that were lost. Every replica may sweep.
func (d *Dispatcher) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := d.sweep(ctx); err != nil && ctx.Err() == nil {
				d.log.ErrorContext(ctx, "sweeping tasks", "error", err)
			}
		}
	}
}

func (d *Dispatcher) sweep(ctx context.Context) error {
	expired, err := d.store.ExpireTasks(ctx, expireGrace)
	if err != nil {
		return err
	}
	for _, task := range expired {
		d.log.WarnContext(ctx, "task ended at its deadline", "task_id", task.TaskId, "cluster_id", task.ClusterId,
			"task_type", task.TaskType, "status", task.Status)
	}
	waiting, err := d.store.ReleaseTasks(ctx)
	if err != nil {
		return err
	}
	// Every replica sweeps, so each wakes its own streams: telling the others would
	// fill Redis when ten thousand clusters wait for an agent.
	for _, cluster := range waiting {
		d.bus.Wake(Topic(cluster))
	}
	return nil
}
