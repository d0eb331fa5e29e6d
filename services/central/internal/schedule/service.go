// Package schedule is the story of workloads that sleep: what a calendar wants → held or not → scaled, stage by stage → told.
//
// The rows tell how far each schedule is; any replica follows it up. What should
// hold now is all that counts: a transition that was missed is caught up to that,
// and never made up for one by one. A run and the names of its tasks are written
// before an agent hears of them, so following a schedule up again changes nothing.
package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// actor of what this room does by itself, in tasks and in the audit log.
	actor = "schedule_service"

	attendEvery = time.Second
	// lease is how long the others leave a schedule alone that one replica looks at:
	// should it die, another goes on then.
	lease        = 30 * time.Second
	attendOnce   = 25 * time.Second
	attendMany   = 64
	attendAtOnce = 4
	// lookAgain bounds the time between two looks: policies and stops change.
	lookAgain = 30 * time.Second
	// soon is when one that runs, or is held, is looked at again.
	soon = 2 * time.Second
	// heldFor is when one that is held is looked at again.
	heldFor = 5 * time.Second
	// offlineAfter is when an agent that says nothing counts as offline, as in the cluster's health.
	offlineAfter = 3 * time.Minute
	offline      = "the agent of this cluster is offline"
	// decideWithin bounds one question to ml.
	decideWithin = 15 * time.Second
)

// Config is what the service needs.
type Config struct {
	Store     *store.Store
	Dispatch  *dispatch.Dispatcher
	Decisions mlv1.DecisionServiceClient
	// Now is the time; nil: the machine's.
	Now func() time.Time
	Log *slog.Logger
}

// Service keeps schedules and carries them out.
type Service struct{ Config }

// New makes a service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{Config: cfg}
}

// Run follows schedules up until ctx ends. Every replica does; each schedule is
// looked at by one at a time.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.attend(ctx); err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "looking after schedules", "error", err)
			}
		}
	}
}

func (s *Service) attend(ctx context.Context) error {
	ids, err := s.Store.ClaimSchedules(ctx, lease, attendMany)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	room := make(chan struct{}, attendAtOnce)
	for _, id := range ids {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			s.look(ctx, id)
		})
	}
	all.Wait()
	return nil
}

// look does what can be done now, and says when to look again.
func (s *Service) look(ctx context.Context, id uuid.UUID) {
	bounded, cancel := context.WithTimeout(ctx, attendOnce)
	defer cancel()
	again, err := s.follow(bounded, id)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		s.Log.WarnContext(ctx, "following up a schedule; it is tried again", "schedule_id", id, "error", err)
		again = 2 * soon
	}
	if err := s.Store.LookAtSchedule(ctx, id, again); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "following up a schedule", "schedule_id", id, "error", err)
	}
}

// held says what keeps a cluster from being put to sleep now; empty: nothing.
func (s *Service) held(ctx context.Context, tx *store.Store, cluster uuid.UUID) (string, *guard.Policy, error) {
	stops, err := tx.StopsIn(ctx, cluster)
	if err != nil {
		return "", nil, err
	}
	layers, err := tx.PolicyLayers(ctx, cluster)
	if err != nil {
		return "", nil, err
	}
	policy, err := guard.Resolve(layers[cluster])
	if err != nil {
		return "", nil, err
	}
	seen, err := tx.LastSeen(ctx, cluster)
	if err != nil {
		return "", nil, err
	}
	switch age := s.Now().Sub(seen); {
	case len(stops[cluster]) > 0:
		return guard.Stopped(stops[cluster][0]).GetMessage(), policy, nil
	case guard.Below(policy.Mode(), guard.Approve):
		return fmt.Sprintf("the policy's mode is %s, which changes nothing", policy.Mode()), policy, nil
	case age > offlineAfter:
		return offline, policy, nil
	case age > policy.StaleAfter():
		return fmt.Sprintf("the state of this cluster is older than %s, the bound for acting", policy.StaleAfter()), policy, nil
	}
	return "", policy, nil
}
