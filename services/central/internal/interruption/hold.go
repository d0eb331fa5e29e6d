package interruption

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/pkg/workid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// heldAgain is how soon it is asked again whether a stop still holds.
const heldAgain = time.Second

// restraint is what keeps interruptions of clusters from being acted on. Windows and
// budgets do not: AWS asks nobody for the time.
type restraint struct {
	// watched clusters are only looked at: what is said is noted.
	watched map[uuid.UUID]bool
	// stopped clusters have a stop that includes interruptions.
	stopped map[uuid.UUID]bool
}

// restrained says what keeps interruptions of clusters from being acted on. In a
// transaction that has barred stops, it holds until that ends.
func restrained(ctx context.Context, db *store.Store, clusters ...uuid.UUID) (restraint, error) {
	r := restraint{watched: map[uuid.UUID]bool{}, stopped: map[uuid.UUID]bool{}}
	policies, err := guard.Policies(ctx, db, clusters...)
	if err != nil {
		return r, err
	}
	stops, err := db.StopsIn(ctx, clusters...)
	for _, cluster := range clusters {
		r.watched[cluster] = policies[cluster].Mode() == guard.ReadOnly
		r.stopped[cluster] = store.Holding(stops[cluster]).GetIncludeInterruptions()
	}
	return r, err
}

func (r restraint) holds(cluster uuid.UUID) bool { return r.watched[cluster] || r.stopped[cluster] }

// held tells whether nothing may be done about interruptions of a cluster now.
func (s *Service) held(ctx context.Context, db *store.Store, cluster uuid.UUID) (bool, error) {
	r, err := restrained(ctx, db, cluster)
	return r.holds(cluster), err
}

// standStill returns when to look again at an interruption that nothing may be done about
// now; 0: something may. What is gone already is only noted.
func (s *Service) standStill(ctx context.Context, i *store.Interruption) (time.Duration, error) {
	if i.State == "gone" {
		return 0, nil
	}
	held, err := s.held(ctx, s.Store, i.Cluster)
	if err != nil || !held {
		return 0, err
	}
	return heldAgain, s.keepWaiting(ctx, i)
}

// clustersOf all that was heard, each once.
func clustersOf(all []heard) []uuid.UUID {
	var out []uuid.UUID
	for _, h := range all {
		if !slices.Contains(out, h.owner.Cluster) {
			out = append(out, h.owner.Cluster)
		}
	}
	return out
}

// catchUp starts what a stop kept from being started when it was heard.
func (s *Service) catchUp(ctx context.Context, i *store.Interruption) error {
	return s.change(ctx, i.ID, "interruption.caught_up", func(tx *store.Store, i *store.Interruption) (bool, error) {
		held, err := s.held(ctx, tx, i.Cluster)
		if err != nil || held || i.Urgency == risk || i.Replacement != "" {
			return false, err
		}
		if err := s.wantReplacement(ctx, tx, heard{}, i); err != nil {
			return false, err
		}
		if i.Urgency > planned {
			_, err = s.drain(ctx, tx, i, risk, uuid.Nil)
		}
		i.Wake = true
		return true, err
	})
}

// cutShort tells whether a drain was broken off, or refused, because a stop held.
func cutShort(got store.TaskOutcome) bool {
	return got.Status == "cancelled" &&
		(strings.HasPrefix(got.CancelReason, store.StopPrefix) || strings.Contains(got.Result.GetError(), "a stop holds"))
}

// drainAgain begins a drain anew that a stop cut short, as another task.
func (s *Service) drainAgain(ctx context.Context, i *store.Interruption) error {
	task := i.DrainTask
	return s.change(ctx, i.ID, "interruption.draining", func(tx *store.Store, i *store.Interruption) (bool, error) {
		held, err := s.held(ctx, tx, i.Cluster)
		if err != nil || held || i.State != "draining" || i.DrainTask != task {
			return false, err
		}
		i.Nth++
		i.DrainTask = some(workid.InterruptionDrain(i.Cluster, i.InstanceID, i.Nth))
		again, err := drainTask(i, time.Now())
		if err != nil {
			return false, err
		}
		return true, s.Dispatch.Add(ctx, tx, again)
	})
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }
