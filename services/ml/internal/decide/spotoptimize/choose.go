package spotoptimize

import (
	"cmp"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

const (
	rounds    = 6  // times nodes are taken out because their pods stay stuck
	fewTrials = 20 // below this many trials a cluster counts as large
)

// choose the plan that is worth most, ok false if none is worth its disruption.
func (q *problem) choose() (outcome, bool) {
	best, found := outcome{}, false
	all := q.w.Replaceable()
	consider := func(o outcome) {
		q.remember(o)
		if o.ok() && q.saves(o.plan) && (!found || q.w.worth(o.plan) < q.w.worth(best.plan)) {
			best, found = o, true
		}
	}
	whole := q.settle(all)
	q.stopped = whole.limit
	consider(whole)
	if q.partialMayBeBetter(whole) {
		ordered := q.byWaste(q.w.Replaceable())
		for _, n := range q.portions(len(ordered)) {
			consider(q.without(ordered[:n]))
		}
	}
	if found {
		q.shrink(&best.plan)
		q.harden(&best.plan)
	}
	return best, found && q.saves(best.plan)
}

// settle tries to do without all the nodes; those whose pods stay stuck are
// taken out and the rest tried again.
func (q *problem) settle(nodes []int) outcome {
	var o outcome
	for range rounds {
		o = q.without(nodes)
		if len(o.stuck) == 0 || o.limit != "" {
			return o
		}
		kept := q.keepNodesOf(o.stuck, nodes)
		if len(kept) == len(nodes) {
			return o
		}
		nodes = kept
	}
	return o
}

// keepNodesOf pods that found no place; it returns the nodes that may still go.
func (q *problem) keepNodesOf(stuck, nodes []int) []int {
	return slices.DeleteFunc(slices.Clone(nodes), func(n int) bool {
		node := q.w.Nodes[n]
		for _, pod := range stuck {
			if slices.Contains(node.Moves, pod) {
				p := q.w.Book.Pod(pod)
				node.Reason, node.Detail = scene.ReasonUnschedulable, p.GetNamespace()+"/"+p.GetName()+" would find no place"
				return true
			}
		}
		return false
	})
}

// partialMayBeBetter where a limit stopped the whole, or may have made it buy on
// demand what might as well have stayed.
func (q *problem) partialMayBeBetter(whole outcome) bool {
	return q.l.partial() || !whole.ok() || !q.saves(whole.plan)
}

// portions of n nodes to try, largest first.
func (q *problem) portions(n int) []int {
	sixteenths := []int{15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	if q.w.trials() < fewTrials {
		sixteenths = []int{12, 8, 4, 2}
	}
	var sizes []int
	for _, s := range sixteenths {
		if k := n * s / 16; k > 0 && k < n && !slices.Contains(sizes, k) {
			sizes = append(sizes, k)
		}
	}
	return sizes
}

// byWaste orders nodes by what they cost for what moves off them, most first.
func (q *problem) byWaste(nodes []int) []int {
	var need fit.Amounts
	for _, n := range nodes {
		for _, pod := range q.w.Nodes[n].Moves {
			need = need.Plus(q.w.Book.Requests(pod))
		}
	}
	var w weights
	if dual := q.shelf.dual(need); dual >= 0 {
		w = q.shelf.duals[dual]
	}
	waste := map[int]float64{}
	for _, n := range nodes {
		used := 0.0
		for _, pod := range q.w.Nodes[n].Moves {
			used += w.value(q.w.Book.Requests(pod))
		}
		waste[n] = q.w.Nodes[n].Price - used
	}
	ordered := slices.Clone(nodes)
	slices.SortStableFunc(ordered, func(a, b int) int { return cmp.Compare(waste[b], waste[a]) })
	return ordered
}

// settlingSavings is the least share of the bill that is worth another change while
// the nodes of the last one are still fresh.
const settlingSavings = 0.25

// saves says whether a plan is worth its disruption: the share of the bill that
// was asked for, and within a month more than moving the pods costs.
func (q *problem) saves(p plan) bool {
	before := q.w.CostPerHour()
	saved := before - p.CostAfter(q.w.World)
	least := q.l.minSavings
	if q.w.Settling() && !q.extending {
		least = max(least, settlingSavings)
	}
	return saved > defaultGranularity && saved >= least*before && saved*figure.HoursPerMonth > float64(p.Moved(q.w.World))*MoveCost
}

// excludeImmovable keeps the nodes with a pod that neither a new node nor one
// that stays could ever take, and forgets pending pods of that kind.
func (q *problem) excludeImmovable() {
	today := q.w.Today()
	var staying []int
	for i, n := range q.w.Nodes {
		if n.Reason != "" && !n.Place.Closed {
			staying = append(staying, i)
		}
	}
	known := map[int]bool{} // class → placeable
	placeable := func(pod int) bool {
		class := q.w.Book.Class(pod)
		if _, ok := known[class]; !ok {
			known[class] = q.placeable(pod, today, staying)
		}
		return known[class]
	}
	for _, i := range q.w.Replaceable() {
		n := q.w.Nodes[i]
		for _, pod := range n.Moves {
			if placeable(pod) {
				continue
			}
			p := q.w.Book.Pod(pod)
			n.Reason, n.Detail = scene.ReasonUnschedulable, p.GetNamespace()+"/"+p.GetName()+" fits on no node that may be bought"
			if len(p.GetVolumeZones()) > 0 && !slices.ContainsFunc(q.columns, func(c *column) bool { return slices.Contains(p.GetVolumeZones(), c.Zone) }) {
				n.Reason, n.Detail = scene.ReasonVolume, p.GetNamespace()+"/"+p.GetName()+" has a volume in a zone where nothing may be bought"
			}
			break
		}
	}
	q.waiting = slices.DeleteFunc(slices.Clone(q.w.Pending), func(pod int) bool { return !placeable(pod) })
}

func (q *problem) placeable(pod int, today *fit.Cluster, staying []int) bool {
	need, p := q.w.Book.Requests(pod), q.w.Book.Pod(pod)
	easy := scene.SelectorKey(p) == ""
	for _, c := range q.columns {
		if !need.Within(c.Room) {
			continue
		}
		if easy {
			return true
		}
		if fit.Admits(p, &c.Blank) {
			return true
		}
	}
	return slices.ContainsFunc(staying, func(n int) bool {
		return need.Within(today.Spare(n)) && fit.Admits(p, today.Node(n))
	})
}
