package spotoptimize

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
)

// firstFailure rehearses with many schedulers and returns the pods that the first
// failing one leaves stuck, nil if all succeed.
func (w *world) firstFailure(p plan, waiting []int) []int {
	return p.Failure(w.World, waiting, 0, w.rehearsals())
}

// size of a rehearsal, pods × nodes: what it costs grows with it.
func (w *world) size() int { return max(1, len(w.State.GetPods())*(len(w.Nodes)+10)) }

// Effort is counted, not timed, so that the same question gets the same answer.
const (
	rehearsalEffort = 600_000   // pods × nodes that the rehearsals of one plan come to
	trialEffort     = 1_500_000 // … and that trials of smaller plans come to
	leastRehearsals = 2
	mostRehearsals  = 64
)

// rehearsals that a plan must survive: the more, the fewer surprises.
func (w *world) rehearsals() int {
	return min(mostRehearsals, max(leastRehearsals, rehearsalEffort/w.size()))
}

// freshRehearsals are as many again and more, for a plan that was fitted to the
// first.
func (w *world) freshRehearsals() int {
	return min(2*mostRehearsals, max(1, 3*rehearsalEffort/w.size()))
}

// trials of smaller plans that the size allows.
func (w *world) trials() int { return trialEffort / w.size() }

// landing is where the likeliest scheduler puts the pods that a plan moves, and the nodes it buys.
func (q *problem) landing(p plan) ([]*mlv1.PodMove, []*fleetv1.NodeMetric) {
	if len(p.Gone)+len(p.Buy) == 0 {
		return nil, nil
	}
	landed := p.Rehearse(q.w.World, q.waiting, change.Plain).Cluster
	return p.Moves(q.w.World, landed, true), p.NewNodes(q.w.World)
}

func (w *world) drainOrder(nodes []int) []int { return change.DrainOrder(w.World, nodes) }
