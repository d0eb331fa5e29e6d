package spotoptimize

import (
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// extensions is how often a plan is carried on from its own result.
const extensions = 4

// extend a plan by what the engine would propose when asked about its result, so
// that, asked then, it has nothing left to say.
func (q *problem) extend(p plan) plan {
	for range extensions {
		if len(p.Gone) == len(q.w.Replaceable()) {
			return p // the new nodes are left alone for a while, and no old ones are left
		}
		w := newWorld(p.After(q.w.World, p.Rehearse(q.w.World, q.waiting, change.Plain).Cluster), q.w.Market, q.w.At)
		next := newProblem(w, q.l, q.want, w.choices(q.want, q.scope()))
		next.extending, next.light = true, q.light
		next.keepOnDemand()
		next.excludeImmovable()
		more, ok := next.choose()
		if !ok {
			return p
		}
		longer := q.join(p, more.plan, w)
		q.harden(&longer)
		if q.w.broken(longer, q.l) != "" || !q.saves(longer) || longer.CostAfter(q.w.World) >= p.CostAfter(q.w.World) ||
			q.w.firstFailure(longer, q.waiting) != nil {
			return p
		}
		p = longer
	}
	return p
}

// scope is the limits with zones and architectures as this cluster has them, for
// they must not shrink when it does.
func (q *problem) scope() limits {
	l := q.l
	if len(l.zones) == 0 {
		l.zones = shop.Zones(q.w.World)
	}
	if len(l.architectures) == 0 {
		l.architectures = shop.Architectures(q.w.World)
	}
	return l
}

// join a second plan, made for the result of the first, to it.
func (q *problem) join(first, second plan, w *world) plan {
	joined := plan{Gone: slices.Clone(first.Gone), Buy: slices.Concat(first.Buy, second.Buy)}
	index := map[string]int{}
	for i, n := range q.w.Nodes {
		index[n.Metric.GetNodeName()] = i
	}
	for _, n := range second.Gone {
		joined.Gone = append(joined.Gone, index[w.Nodes[n].Metric.GetNodeName()])
	}
	joined.Gone = q.w.drainOrder(joined.Gone)
	return joined
}
