package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Queue runs background jobs of this replica; the jobs are rows, written in the
// transaction that causes them.
type Queue struct {
	client *river.Client[pgx.Tx]
}

// UrgentJobs is the queue of jobs that a node's last two minutes depend on: they
// wait neither behind stories nor for a slow EC2.
const UrgentJobs = "urgent"

// NewQueue makes the queue; workers say what each job does.
func NewQueue(s *Store, log *slog.Logger, workers *river.Workers, periodic []*river.PeriodicJob) (*Queue, error) {
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: 16, FetchCooldown: 100 * time.Millisecond, FetchPollInterval: 250 * time.Millisecond},
			UrgentJobs:         {MaxWorkers: 32, FetchCooldown: 100 * time.Millisecond, FetchPollInterval: 250 * time.Millisecond},
		},
		Workers: workers, PeriodicJobs: periodic, Logger: log,
		// A step of a story only starts things and looks; it never waits for them.
		JobTimeout: time.Minute, RescueStuckJobsAfter: 2 * time.Minute,
		MaxAttempts:                 50,
		CompletedJobRetentionPeriod: time.Hour,
	})
	if err != nil {
		return nil, err
	}
	return &Queue{client: client}, nil
}

// Run works until ctx ends; jobs in hand get a few seconds.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := q.client.Stop(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return q.client.StopAndCancel(grace)
}

// Enqueue writes a job; on a store inside InTx, with the transaction.
func (q *Queue) Enqueue(ctx context.Context, s *Store, job river.JobArgs) error {
	if s.tx != nil {
		_, err := q.client.InsertTx(ctx, s.tx, job, nil)
		return wrap("enqueuing", job.Kind(), err)
	}
	_, err := q.client.Insert(ctx, job, nil)
	return wrap("enqueuing", job.Kind(), err)
}
