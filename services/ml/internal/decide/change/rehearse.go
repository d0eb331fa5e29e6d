package spotoptimize

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// noises stand for the scores left out of fit.Scheduler, from nearly pure chance
// to little; every rehearsal has its own seed besides.
var noises = [...]float64{200, 60, 120, 30}

// plain is the scheduler's main score alone, the likeliest course.
var plain = fit.Scheduler{Seed: 1}

// margin is the share of a new node's room that a plan must do without while it
// is rehearsed: for what comes between the decision and the last drain.
const margin = 0.03

// scheduler of the i-th rehearsal.
func scheduler(i int) fit.Scheduler {
	if i == 0 {
		return plain
	}
	return fit.Scheduler{Seed: uint64(i) + 1, Noise: noises[(i-1)%len(noises)]}
}

// rehearsal is how the cluster looks after a plan was carried out.
type rehearsal struct {
	cluster *fit.Cluster
	stuck   []int // pods without a place
}

// rehearse a plan: the new nodes join, the old ones are drained in order, and the
// scheduler puts each pod where it likes.
func (w *world) rehearse(p plan, waiting []int, s fit.Scheduler) rehearsal {
	return w.perform(w.stage(p), p, waiting, s)
}

// stage is the cluster with the new nodes, before anything moves.
func (w *world) stage(p plan) *fit.Cluster {
	c := w.today()
	for i := range p.buy {
		n := p.newNode(i)
		n.Room.CPU -= int64(margin * float64(n.Room.CPU))
		n.Room.Memory -= int64(margin * float64(n.Room.Memory))
		c.AddNode(n)
	}
	return c
}

// perform a plan on a stage.
func (w *world) perform(c *fit.Cluster, p plan, waiting []int, s fit.Scheduler) rehearsal {
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
	if w.now == nil {
		w.now = fit.NewCluster(w.book)
		for i, n := range w.nodes {
			w.now.AddNode(n.at)
			for _, pod := range n.pods {
				w.now.Place(pod, i)
			}
		}
	}
	return w.now.Clone()
}

// firstFailure rehearses with many schedulers and returns the pods that the first
// failing one leaves stuck, nil if all succeed.
func (w *world) firstFailure(p plan, waiting []int) []int {
	return w.failure(p, waiting, 0, w.rehearsals())
}

// failure of the rehearsals from first on, the plain scheduler last.
func (w *world) failure(p plan, waiting []int, first, n int) []int {
	stage := w.stage(p)
	for i := first + n - 1; i >= first; i-- {
		if r := w.perform(stage.Clone(), p, waiting, scheduler(i)); len(r.stuck) > 0 {
			return r.stuck
		}
	}
	return nil
}

// size of a rehearsal, pods × nodes: what it costs grows with it.
func (w *world) size() int { return max(1, len(w.state.GetPods())*(len(w.nodes)+10)) }

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

// drainOrder puts the nodes first with the pods that are hardest to place, while
// the new nodes are empty and others have not taken their room: those that can go
// to some nodes only, and large ones that want a node or zone of their own. Among
// equals, the node whose going disturbs least.
func (w *world) drainOrder(nodes []int) []int {
	hard := map[int]float64{}
	for _, n := range nodes {
		for _, pod := range w.nodes[n].moves {
			hard[n] += w.hardness(pod)
		}
	}
	ordered := slices.Clone(nodes)
	slices.SortStableFunc(ordered, func(a, b int) int {
		return cmp.Or(cmp.Compare(hard[b], hard[a]), cmp.Compare(len(w.nodes[a].moves), len(w.nodes[b].moves)))
	})
	return ordered
}

// selective is the hardness of a pod that some nodes alone can take.
const selective = 100

// hardness of finding a place for a pod among others, 0 for one that goes anywhere.
func (w *world) hardness(pod int) float64 {
	p := w.book.Pod(pod)
	if selectorKey(p) != "" {
		return selective
	}
	if len(p.GetPodAntiAffinity()) == 0 && len(p.GetPodAffinity()) == 0 && len(p.GetTopologySpread()) == 0 && len(p.GetHostPorts()) == 0 {
		return 0
	}
	need := w.book.Requests(pod)
	return 1 + max(float64(need.CPU)/1000, float64(need.Memory)/gib/gibPerCPU)
}
