package spotoptimize

import (
	"fmt"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// schedulers that a plan must survive, the hardest to please first: nearly pure
// chance, then the default profile's main score with some noise for those left
// out, and alone.
var schedulers = [...]fit.Scheduler{{Seed: 3, Noise: 200}, {Seed: 2, Noise: 40}, {Seed: 1}}

// rehearsal is how the cluster looks after a plan was carried out.
type rehearsal struct {
	cluster *fit.Cluster
	stuck   []int // pods without a place
}

// rehearse a plan: the new nodes join, the old ones are drained in order, and the
// scheduler puts each pod where it likes.
func (w *world) rehearse(p plan, waiting []int, s fit.Scheduler) rehearsal {
	c := w.today()
	for i, column := range p.buy {
		c.AddNode(column.node(newName(i)))
	}
	pods := map[int][]int{}
	for _, n := range p.gone {
		pods[n] = w.nodes[n].moves
	}
	stuck := s.Settle(c, waiting)
	return rehearsal{cluster: c, stuck: append(stuck, s.Drain(c, p.gone, pods)...)}
}

func newName(i int) string { return fmt.Sprintf("cloudoptim-new-%05d", i) }

// today is the cluster as it is; node indices are those of world.nodes.
func (w *world) today() *fit.Cluster {
	c := fit.NewCluster(w.book)
	for i, n := range w.nodes {
		c.AddNode(n.at)
		for _, pod := range n.pods {
			c.Place(pod, i)
		}
	}
	return c
}

// firstFailure rehearses with each scheduler and returns the pods that the first
// failing one leaves stuck, nil if all succeed.
func (w *world) firstFailure(p plan, waiting []int) []int {
	for _, s := range schedulers[:w.rehearsals()] {
		if r := w.rehearse(p, waiting, s); len(r.stuck) > 0 {
			return r.stuck
		}
	}
	return nil
}

// size of a rehearsal: what it costs grows with it.
func (w *world) size() int { return max(1, len(w.state.GetPods())*(len(w.nodes)+10)) }

const (
	largeCluster = 2_000_000 // pods × nodes where a rehearsal takes a second or so
	trialEffort  = 4_000_000 // pods × nodes that trials of smaller plans may rehearse
)

func (w *world) rehearsals() int {
	if w.size() > largeCluster {
		return 2
	}
	return len(schedulers)
}

// trials of smaller plans that the size allows. Counted, not timed, so that the
// same question always gets the same answer.
func (w *world) trials() int { return trialEffort / w.size() }

// drainOrder puts the nodes first whose going disturbs least.
func (w *world) drainOrder(nodes []int) []int {
	ordered := slices.Clone(nodes)
	slices.SortStableFunc(ordered, func(a, b int) int {
		return len(w.nodes[a].moves) - len(w.nodes[b].moves)
	})
	return ordered
}
