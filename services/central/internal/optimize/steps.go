package optimize

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// A step looks, does what it can without waiting, and says how it went. It is
// run again after a pause, after a failure and after a crash at any line.
type step struct {
	name string
	run  func(r *run, ctx context.Context) (outcome, error)
	// patience is how long the step may take in all.
	patience time.Duration
	// onFailure is the position of the step that follows a failure; 0 ends the story.
	onFailure int
}

const (
	decidePosition   = 2
	rollbackPosition = 9
)

// steps in order; a step's position, from 1, is stored. Before anything was
// launched a failure simply ends the story; until the first old node is
// terminated, it is rolled back.
var steps = []step{
	{"state", (*run).state, 2 * time.Minute, 0},
	{"decide", (*run).decide, 3 * time.Minute, 0},
	{"launch", (*run).launch, 10 * time.Minute, rollbackPosition},
	{"ready", (*run).nodesReady, 15 * time.Minute, rollbackPosition},
	{"label", (*run).label, 5 * time.Minute, rollbackPosition},
	{"drain", (*run).drain, 24 * time.Hour, rollbackPosition},
	{"terminate", (*run).terminate, 30 * time.Minute, 0},
	{"verify", (*run).verify, 5 * time.Minute, 0},
	{"rollback", (*run).rollback, 2 * time.Hour, 0},
}

func stepNames() []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
	}
	return names
}

// outcome of running a step once: wait, or failure, or done.
type outcome struct {
	// wait: not done, look again after this.
	wait time.Duration
	// trouble is what it waits for, for people.
	trouble string
	// failure: given up, and why.
	failure string
	// detail is kept with the step.
	detail map[string]any
	// commit takes part in the transaction that ends the step.
	commit func(ctx context.Context, tx *store.Store) error
	// finished ends the whole story, well as a rule.
	finished *ending
	// held: it may not go on now, which costs it no patience.
	held *adminv1.Waiting
	// rollBack leads from this failure to the rollback, whatever the step.
	rollBack bool
	// news is told behind that of the step's end.
	news []*adminv1.StreamResponse
}

// ending of a story.
type ending struct {
	status, message    string
	savings, costAfter float64
}

func waiting(d time.Duration, format string, args ...any) outcome {
	return outcome{wait: d, trouble: fmt.Sprintf(format, args...)}
}

// run is a story with what its steps look at.
type run struct {
	*Service
	story   *store.Story
	step    step
	account *store.Account
}

func (s *Service) load(ctx context.Context, story *store.Story) (*run, error) {
	account, err := s.Store.Account(ctx, story.Cluster)
	return &run{Service: s, story: story, step: steps[story.Step-1], account: account}, err
}

// age of the step in hand, without what it stood still for the guard.
func (r *run) age() time.Duration {
	return r.story.Age()
}

// ending of the story after result.
func (r *run) ending(result outcome) ending {
	switch {
	case result.finished != nil:
		return *result.finished
	case r.story.Cancelled:
		return ending{status: "cancelled", message: r.cancelReason(), costAfter: r.story.CostBefore}
	case result.failure != "":
		return ending{status: "failed", message: result.failure, costAfter: r.story.CostBefore}
	default: // rollback is done: the first failure is the story's
		for _, s := range r.story.Steps {
			if s.Status == "failed" {
				return ending{status: "failed", message: s.Name + ": " + s.Error, costAfter: r.story.CostBefore}
			}
		}
		return ending{status: "failed", message: "rolled back", costAfter: r.story.CostBefore}
	}
}

func (r *run) aws() cloud.Account {
	return cloud.Account{
		Region: r.account.Region, RoleARN: r.account.RoleARN, ExternalID: r.account.ExternalID, ClusterName: r.account.ClusterName,
	}
}

// taskID names a piece of work of this story: the same work has the same id.
func (r *run) taskID(parts ...string) uuid.UUID {
	return uuid.NewSHA1(r.story.ID, fmt.Append(nil, parts))
}

// monthly is what a cost per hour now saves per month against the beginning.
func (r *run) monthly(costNow float64) float64 {
	return (r.story.CostBefore - costNow) * savings.HoursPerMonth
}
