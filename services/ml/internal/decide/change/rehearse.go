package change

import (
	"cmp"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

// noises stand for the scores left out of fit.Scheduler, from nearly pure chance
// to little; every rehearsal has its own seed besides.
var noises = [...]float64{200, 60, 120, 30}

// Plain is the scheduler's main score alone, the likeliest course.
var Plain = fit.Scheduler{Seed: 1}

// Margin is the share of a new node's room that a plan must do without while it
// is rehearsed: for what comes between the decision and the last drain.
const Margin = 0.03

// Scheduler of the i-th rehearsal.
func Scheduler(i int) fit.Scheduler {
	if i == 0 {
		return Plain
	}
	return fit.Scheduler{Seed: uint64(i) + 1, Noise: noises[(i-1)%len(noises)]}
}

// Rehearsal is how the cluster looks after a plan was carried out.
type Rehearsal struct {
	Cluster *fit.Cluster
	Stuck   []int // pods without a place
}

// Rehearse a plan: the new nodes join, the old ones are drained in order, and the
// scheduler puts each pod where it likes.
func (p Plan) Rehearse(w *scene.World, waiting []int, s fit.Scheduler) Rehearsal {
	return p.perform(w, p.stage(w), waiting, s)
}

// stage is the cluster with the new nodes, before anything moves.
func (p Plan) stage(w *scene.World) *fit.Cluster {
	c := w.Today()
	for i := range p.Buy {
		n := p.NewNode(i)
		n.Room.CPU -= int64(Margin * float64(n.Room.CPU))
		n.Room.Memory -= int64(Margin * float64(n.Room.Memory))
		c.AddNode(n)
	}
	return c
}

// perform a plan on a stage.
func (p Plan) perform(w *scene.World, c *fit.Cluster, waiting []int, s fit.Scheduler) Rehearsal {
	pods := map[int][]int{}
	for _, n := range p.Gone {
		pods[n] = w.Nodes[n].Moves
	}
	stuck := s.Settle(c, waiting)
	return Rehearsal{Cluster: c, Stuck: append(stuck, s.Drain(c, p.Gone, pods)...)}
}

// Failure of the rehearsals from first on, the plain scheduler last.
func (p Plan) Failure(w *scene.World, waiting []int, first, n int) []int {
	stage := p.stage(w)
	for i := first + n - 1; i >= first; i-- {
		if r := p.perform(w, stage.Clone(), waiting, Scheduler(i)); len(r.Stuck) > 0 {
			return r.Stuck
		}
	}
	return nil
}

// DrainOrder puts the nodes first with the pods that are hardest to place, while
// the new nodes are empty and others have not taken their room: those that can go
// to some nodes only, and large ones that want a node or zone of their own. Among
// equals, the node whose going disturbs least.
func DrainOrder(w *scene.World, nodes []int) []int {
	hard := map[int]float64{}
	for _, n := range nodes {
		for _, pod := range w.Nodes[n].Moves {
			hard[n] += Hardness(w, pod)
		}
	}
	ordered := slices.Clone(nodes)
	slices.SortStableFunc(ordered, func(a, b int) int {
		return cmp.Or(cmp.Compare(hard[b], hard[a]), cmp.Compare(len(w.Nodes[a].Moves), len(w.Nodes[b].Moves)))
	})
	return ordered
}

// gibPerCPU is a middling node's memory for each vCPU.
const gibPerCPU = 4

// selective is the hardness of a pod that some nodes alone can take.
const selective = 100

// Hardness of finding a place for a pod among others, 0 for one that goes anywhere.
func Hardness(w *scene.World, pod int) float64 {
	p := w.Book.Pod(pod)
	if scene.SelectorKey(p) != "" {
		return selective
	}
	if len(p.GetPodAntiAffinity()) == 0 && len(p.GetPodAffinity()) == 0 && len(p.GetTopologySpread()) == 0 && len(p.GetHostPorts()) == 0 {
		return 0
	}
	need := w.Book.Requests(pod)
	return 1 + max(float64(need.CPU)/1000, float64(need.Memory)/scene.GiB/gibPerCPU)
}
