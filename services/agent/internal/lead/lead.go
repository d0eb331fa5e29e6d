// Package lead decides which one agent of a cluster works, and tells whoever is
// about to write whether that still is this one.
package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
)

const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	// retryPeriod is drawn out by up to a tenth for each agent, and by client-go
	// for each try, so that a hundred standbys do not ask in step.
	retryPeriod = 2 * time.Second
	// mercy is how long an agent whose node is going away leaves a free lease to
	// others: three of their tries.
	mercy = 8 * time.Second
	// settled is how long an agent that took the lease for want of others keeps
	// it before it tries again to give it away.
	settled = time.Minute
)

var (
	// ErrLost says that the lease was not renewed in time.
	ErrLost = errors.New("the lease was lost; another agent works now")
	// ErrYielded says that the lease was given to the others.
	ErrYielded = errors.New("the lease was given back for another agent to take")
)

// Bulletin is a line that the leader writes on the lease and all others read
// there: it costs no call and no right of its own.
type Bulletin interface {
	// Said is the line, empty for none.
	Said() string
	// Heard takes what another agent wrote.
	Heard(line string)
}

// Config is what an Elector needs.
type Config struct {
	// Client has a rate limit of its own, or a drain of fifty nodes starves the lease.
	Client kubernetes.Interface
	// Namespace and Name of the lease; Identity of this agent, its pod's name.
	Namespace, Name, Identity string
	// Abstains says that this agent should not lead if another can: its node is
	// going away. It is asked only when the lease is free, and may ask the API server.
	Abstains func(context.Context) bool
	// Bulletin goes with the lease.
	Bulletin Bulletin
	// Log gets a line when leadership changes.
	Log *slog.Logger
}

// Elector stands for election. Run it again and again; its fence may be asked
// at any time.
type Elector struct {
	cfg  Config
	lock *lock

	mu     sync.Mutex
	yield  context.CancelCauseFunc // ends the work under way, nil while standing by
	since  time.Time               // when it began
	forced bool                    // the lease was taken for want of others
}

// New makes an Elector.
func New(cfg Config) *Elector {
	return &Elector{cfg: cfg, lock: &lock{cfg: cfg}}
}

// Held says whether this agent holds the lease beyond doubt: it was renewed
// less than ten seconds ago by the monotonic clock and by the other one, which
// also counts while the machine sleeps. Others take it after fifteen. Ask right
// before each write: a process that was stopped does not know that it was.
func (e *Elector) Held() bool { return e.lock.held() }

// Epoch counts leaderships of the cluster, from 1; 0 before the first of this agent.
func (e *Elector) Epoch() int64 { return e.lock.epochNow() }

// Yield gives the lease back: the work ends first, then others may take it. It
// does nothing and says false when this agent does not lead, or took the lease
// less than a minute ago because nobody else did.
func (e *Elector) Yield() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.mayYield() {
		return false
	}
	e.lock.rest()
	e.yield(ErrYielded)
	return true
}

// MayYield says whether Yield would do something.
func (e *Elector) MayYield() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mayYield()
}

func (e *Elector) mayYield() bool {
	return e.yield != nil && (!e.forced || time.Since(e.since) >= settled)
}

// Run stands for election, works while it leads, and ends: with nil when ctx
// ended, with ErrLost, ErrYielded, or what the work ended with. The lease is
// given back only after the work has stopped, so two agents never evict at once.
func (e *Elector) Run(ctx context.Context, work func(context.Context) error) error {
	campaign, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	result := make(chan error, 1)
	var state term
	defer context.AfterFunc(ctx, func() {
		if !state.leading() {
			end()
		}
	})()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: e.lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline,
		RetryPeriod: retryPeriod + rand.N(retryPeriod/10), ReleaseOnCancel: true, Name: e.cfg.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				if state.begin() {
					result <- e.work(ctx, lease, work)
					end()
				}
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("standing for election: %w", err)
	}
	elector.Run(campaign)
	e.lock.drop()
	if !state.finish() {
		return nil // told to stop while standing by
	}
	return e.ended(ctx, <-result)
}

// term is whether the work of one campaign began, and may still begin.
type term struct {
	mu         sync.Mutex
	began, end bool
}

func (t *term) leading() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.began
}

// begin is refused after finish: client-go starts the work on a goroutine that
// may come late.
func (t *term) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = !t.end
	return t.began
}

func (t *term) finish() (began bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = true
	return t.began
}

func (e *Elector) ended(ctx context.Context, err error) error {
	if err == nil && ctx.Err() == nil {
		err = ErrLost
	}
	e.cfg.Log.Info("this agent leads no more", "identity", e.cfg.Identity, "epoch", e.Epoch(), "reason", err)
	return err
}

// work runs until the lease ends, ctx ends, or Yield.
func (e *Elector) work(ctx, lease context.Context, work func(context.Context) error) error {
	e.cfg.Log.Info("this agent leads", "identity", e.cfg.Identity, "epoch", e.Epoch())
	working, stop := context.WithCancelCause(lease)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
	e.mu.Lock()
	e.yield, e.since, e.forced = stop, time.Now(), e.lock.reluctant()
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.yield = nil
	}()
	err := work(working)
	if err == nil && errors.Is(context.Cause(working), ErrYielded) {
		return ErrYielded
	}
	return err
}

// Alone is the fence of an agent that stands for no election.
type Alone struct{}

// Held is true: there is no other.
func (Alone) Held() bool { return true }

// Epoch is 0: there are no leaders.
func (Alone) Epoch() int64 { return 0 }
