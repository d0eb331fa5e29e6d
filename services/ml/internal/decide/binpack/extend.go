package binpack

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// extensions is how often a plan is carried on from its own result.
const extensions = 3

// extend a plan by what the engine would propose when asked about its result, so
// that, asked then, it has little left to say. Nodes that it would take away again are
// not bought in the first place.
func (q *problem) extend(d *draft) *draft {
	for range extensions {
		if q.rehearsals(d) <= fewRehearsals {
			return d // on a large cluster a second decision costs more time than it saves money
		}
		w := scene.New(q.after(d), q.w.Market, q.w.At, scene.Rules{Settle: q.l.coolDown, Protected: q.l.protected})
		next := newProblem(w, q.remaining(d), q.all)
		next.moving, next.weight = q.moving, q.weight
		more := next.first()
		if more == nil {
			return d
		}
		joined := q.mended(q.join(d, more, w))
		if joined == nil || q.refusal(joined) != "" || joined.judged >= d.judged-neverWorse {
			return d
		}
		d = joined
	}
	return d
}

// after the plan, when its new nodes are no longer fresh.
func (q *problem) after(d *draft) *fleetv1.ClusterState {
	state := d.After(q.w, d.Rehearse(q.w, q.seated(), change.Plain).Cluster)
	bought := map[string]bool{}
	for i := range d.Buy {
		bought[change.NewName(i)] = true
	}
	for _, n := range state.GetNodes() {
		if bought[n.GetNodeName()] {
			n.CreatedAt = timestamppb.New(q.w.At.Add(-q.l.coolDown))
		}
	}
	return state
}

// remaining limits after a plan.
func (q *problem) remaining(d *draft) limits {
	l := q.l
	l.evictions, l.perPod = q.most-d.evictions, 1
	l.disrupted = ""
	return l
}

// join a plan that was made for the result of another to it.
func (q *problem) join(first, second *draft, w *scene.World) *draft {
	index := map[string]int{}
	for i, n := range q.w.Nodes {
		index[n.Metric.GetNodeName()] = i
	}
	away := map[string]bool{}
	gone := slices.Clone(first.Gone)
	for _, n := range second.Gone {
		name := w.Nodes[n].Metric.GetNodeName()
		away[name] = true
		if i, ok := index[name]; ok {
			gone = append(gone, i)
		}
	}
	var buy []*shop.Column
	for i, c := range first.Buy {
		if !away[change.NewName(i)] {
			buy = append(buy, c)
		}
	}
	buy = append(buy, second.Buy...)
	d := &draft{Plan: change.Plan{Gone: gone, Buy: buy}, cluster: q.w.Today()}
	for _, n := range gone {
		d.cluster.RemoveNode(n)
		d.evictions += len(q.w.Nodes[n].Moves)
		d.weight += q.weightOf(n)
	}
	for i, c := range buy {
		d.cluster.AddNode(c.Node(change.NewName(i)))
	}
	q.price(d)
	return d
}
