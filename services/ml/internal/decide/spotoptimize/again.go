package spotoptimize

import (
	"slices"
)

// Effort of what goes beside the answer is counted, as that of the answer is.
const (
	// besideEffort is the pods × nodes that all quick solutions of one answer come to.
	besideEffort = 2_500_000
	mostAgain    = 24
)

// spare is how many quick solutions the size of the cluster allows beside the answer.
func (w *world) spare() int { return min(mostAgain, besideEffort/w.size()) }

// again is the same question under other limits. Solutions note in the world why
// nodes stay, so that is forgotten first; the answer must be written by then.
func (q *problem) again(l limits) *problem {
	q.w.restore(q.reasons)
	next := &problem{w: q.w, l: l, want: q.want, columns: q.columns, shelf: q.shelf}
	switch {
	case !sameLists(q.l, l):
		next = newProblem(q.w, l, q.want, q.w.choices(q.want, l))
	case !sameCeilings(q.l, l):
		if q.stock == nil {
			q.stock = q.w.stock(q.want, q.l)
		}
		next = newProblem(q.w, l, q.want, l.sort(q.stock))
	}
	next.light = true
	return next
}

// sameLists and sameCeilings say whether the same may be bought under both limits; how
// much of it is another question.
func sameLists(a, b limits) bool {
	return slices.Equal(a.zones, b.zones) && slices.Equal(a.architectures, b.architectures) &&
		slices.Equal(a.types, b.types) && slices.Equal(a.excluded, b.excluded)
}

func sameCeilings(a, b limits) bool {
	return a.priceRatio == b.priceRatio && a.cpuPrice == b.cpuPrice && a.nodePrice == b.nodePrice && a.maxRisk == b.maxRisk &&
		(a.maxSpot == 0) == (b.maxSpot == 0) && slices.Equal(a.excludedPools, b.excludedPools)
}

// quick solution: one try for all nodes and, where that may not do, for parts of them;
// as few rehearsals as there may be, and nothing smoothed afterwards.
func (q *problem) quick() (plan, bool) {
	if len(q.columns) == 0 {
		return plan{}, false
	}
	q.keepOnDemand()
	q.excludeImmovable()
	best, found := plan{}, false
	consider := func(o outcome) {
		if o.ok() && q.saves(o.plan) && (!found || q.w.worth(o.plan) < q.w.worth(best)) {
			best, found = o.plan, true
		}
	}
	whole := q.settle(q.w.Replaceable())
	consider(whole)
	if q.partialMayBeBetter(whole) {
		ordered := q.byWaste(q.w.Replaceable())
		for _, n := range q.portions(len(ordered)) {
			consider(q.without(ordered[:n]))
		}
	}
	return best, found
}

// costUnder other limits, USD per hour, solved quickly: today's cost where nothing
// saves enough. ok is false where capacity alone is asked for and cannot be had.
func (q *problem) costUnder(l limits, fresh bool) (cost float64, ok bool) {
	next := q.again(l)
	if fresh {
		if len(next.columns) == 0 {
			return 0, false
		}
		o := next.fromNothing()
		if !o.ok() {
			return 0, false
		}
		return o.plan.CostAfter(next.w.World) - next.w.CostPerHour(), true
	}
	best, found := next.quick()
	if !found {
		return next.w.CostPerHour(), false
	}
	return best.CostAfter(next.w.World), true
}

// elsewhere is a plan without the pool that the chosen one leans on most.
func (q *problem) elsewhere(chosen plan, fresh bool) (plan, bool) {
	pool := leaning(chosen)
	if pool == "" {
		return plan{}, false
	}
	l := q.l
	l.excludedPools = append(slices.Clone(l.excludedPools), pool)
	next := q.again(l)
	if fresh {
		if len(next.columns) == 0 {
			return plan{}, false
		}
		o := next.fromNothing()
		return o.plan, o.ok()
	}
	p, found := next.quick()
	return p, found && q.w.firstFailure(p, q.waiting) == nil
}

// firstFailure of the rehearsals that this problem is solved with.
func (q *problem) firstFailure(p plan) []int {
	if q.light {
		return p.Failure(q.w.World, q.waiting, 0, leastRehearsals)
	}
	return q.w.firstFailure(p, q.waiting)
}
