// Package listen long-polls the customers' queues.
//
// A message is deleted only after the intake has committed what it says, so each
// of them is taken at least once: whoever takes has to know what it took before.
package listen

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

// Verdict is what the intake did with a notice.
type Verdict int

const (
	// Taken is committed: the message goes.
	Taken Verdict = iota + 1
	// Duplicate was taken before: the message goes.
	Duplicate
	// Foreign is about an instance that is known not to be ours: the message goes
	// from a queue of our own, and stays for its owner in a shared one.
	Foreign
	// Joining is about an instance that may be ours and is no node yet: the message
	// comes again, after 4, 12, 28 and 60 seconds.
	Joining
)

// String is the word in logs and metrics.
func (v Verdict) String() string {
	return map[Verdict]string{Taken: "taken", Duplicate: "duplicate", Foreign: "foreign", Joining: "joining"}[v]
}

// Intake commits what messages say.
type Intake interface {
	// Take is called with all notices of one batch of at most ten messages, and
	// returns a verdict for each of them after it has committed. An error means that
	// nothing was committed. It is called by many goroutines, and again for a notice
	// whose message came twice.
	Take(ctx context.Context, queue Queue, notices []notice.Notice) ([]Verdict, error)
}

// Queue is one to listen to.
type Queue struct {
	// Customers are all who registered it.
	Customers []uuid.UUID
	URL       string
	// Region may be empty if the URL names it.
	Region string
	// RoleARN is assumed with ExternalID; empty: central's own identity.
	RoleARN, ExternalID string
	// Shared queues have other readers: only what is ours is deleted from them.
	Shared bool
}

func (q Queue) key() string { return q.URL + "\n" + q.RoleARN + "\n" + q.ExternalID }

func (q Queue) equal(other Queue) bool {
	return q.key() == other.key() && q.Region == other.Region && q.Shared == other.Shared && slices.Equal(q.Customers, other.Customers)
}

// Queues says which there are. It is asked every few seconds: a customer who has just named a queue counts on it.
type Queues interface {
	Queues(ctx context.Context) ([]Queue, error)
}

// Config is what a Listener needs.
type Config struct {
	Queues Queues
	Intake Intake
	// Region is where roles are assumed for queues whose URL names no region.
	Region string
	// Endpoint replaces AWS's own, "" for AWS.
	Endpoint string
	Log      *slog.Logger
}

// Listener listens to all queues.
type Listener struct {
	cfg  Config
	pace pace
	base aws.Config
	// slots are for batches that are being taken, of all queues.
	slots chan struct{}
	gate  *gate

	mu          sync.Mutex
	credentials map[identity]aws.CredentialsProvider
}

// pace is how fast and how long; tests change it.
type pace struct {
	refresh    time.Duration // how often queues are looked up
	wait       time.Duration // a long poll
	visibility time.Duration // how long a message is ours, unless extended
	extend     time.Duration // when it is
	take       time.Duration // bounds one Take
	outage     time.Duration // how long a batch is held while no Take succeeds
	stop       time.Duration // what a Take may still last when the listener stops
	backoff    time.Duration // the first and, times 60, the longest pause of a queue in trouble
	joining    time.Duration // the first pause of a Joining message
}

const (
	maxBatch   = 10
	maxPollers = 8
	maxSlots   = 64
	// maxShare is how many batches one queue may have in hand, so that a burst in
	// one does not delay the others.
	maxShare = 16
)

var usualPace = pace{
	refresh: 5 * time.Second, wait: 20 * time.Second, visibility: 60 * time.Second, extend: 40 * time.Second,
	take: 30 * time.Second, outage: 90 * time.Second, stop: 5 * time.Second, backoff: time.Second, joining: 4 * time.Second,
}

// New reads central's own AWS identity from the environment.
func New(ctx context.Context, cfg Config) (*Listener, error) {
	base, err := baseConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	return &Listener{
		cfg: cfg, pace: usualPace, base: base, slots: make(chan struct{}, maxSlots), gate: newGate(),
		credentials: map[identity]aws.CredentialsProvider{},
	}, nil
}

// Run listens until ctx ends, and then finishes what it has in hand.
func (l *Listener) Run(ctx context.Context) error {
	running := map[string]*mailbox{}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(l.pace.refresh)
	defer tick.Stop()
	known := true
	for {
		queues, err := l.cfg.Queues.Queues(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			l.change(ctx, running, queues, &all)
		case known: // once, not twice a minute
			l.cfg.Log.ErrorContext(ctx, "looking up the queues to listen to; keeping those known", "error", err)
		}
		known = err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// change stops what is no longer wanted and starts what is new.
func (l *Listener) change(ctx context.Context, running map[string]*mailbox, queues []Queue, all *sync.WaitGroup) {
	wanted := map[string]Queue{}
	for _, q := range queues {
		slices.SortFunc(q.Customers, func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
		wanted[q.key()] = q
	}
	for key, m := range running {
		if q, still := wanted[key]; !still || !q.equal(m.queue) {
			m.stop()
			delete(running, key)
		}
	}
	for key, q := range wanted {
		if running[key] != nil {
			continue
		}
		m := l.mailbox(q)
		running[key] = m
		own, stop := context.WithCancel(ctx)
		m.stop = stop
		all.Go(func() { m.run(own) })
	}
	l.forget(wanted)
}
