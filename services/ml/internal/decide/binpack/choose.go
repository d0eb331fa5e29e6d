package binpack

import (
	"cmp"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// Effort is counted, not timed, so that the same question gets the same answer.
const (
	drawEffort  = 60_000 // pods moved that drafts come to
	leastDrafts = 3
	mostDrafts  = 400

	unlimited    = 1.0  // the packer's usual effort, for the last draft
	firstPlan    = -1.0 // its least, for those before
	neverWorse   = 1e-9
	halvings     = 5  // portions of a set that are tried where the whole does not hold
	pairsOf      = 12 // nodes whose pairs local search looks at
	sweepsOfAll  = 3  // times local search goes over all nodes
	unplacedOnce = 4  // times nodes whose pods have no place are taken out of a set
	portion      = 0.75
)

// choose the plan that is worth most; nil if none is worth its disruption.
func (q *problem) choose() *draft {
	best := q.first()
	if best != nil && !q.l.planned {
		best = q.extend(best)
	}
	q.note(best)
	return best
}

// first choice, before it is extended.
func (q *problem) first() *draft {
	var drafts []*draft
	proposals := q.proposals()
	for _, p := range proposals[:min(len(proposals), q.drafts(proposals))] {
		drafts = append(drafts, q.placed(p.nodes(), 0, firstPlan))
	}
	if q.needy {
		drafts = append(drafts, q.draw(nil, 0, firstPlan))
	}
	drafts = append(drafts, q.portions(drafts)...)
	q.weighed = drafts
	best := q.least(drafts)
	if best == nil {
		return nil
	}
	best = q.search(best)
	if q.l.planned {
		return q.better(q.placed(best.Gone, 0, unlimited), best)
	}
	return q.settle(best)
}

// drafts of full size that the effort allows.
func (q *problem) drafts(proposals []proposal) int {
	if len(proposals) == 0 {
		return 0
	}
	most := 1
	for _, p := range proposals {
		most = max(most, p.sum.evictions)
	}
	return min(mostDrafts, max(leastDrafts, drawEffort/most))
}

// portions of the best draft so far: a part of its nodes in the order they stand in,
// where the whole breaks what estimates cannot see.
func (q *problem) portions(drafts []*draft) []*draft {
	best := q.least(drafts)
	if best != nil && q.size(best) < leastDrafts*2 || best == nil && len(drafts) == 0 {
		return nil
	}
	if best == nil {
		best = slices.MinFunc(drafts, func(a, b *draft) int { return cmp.Compare(a.judged, b.judged) })
	}
	var more []*draft
	n, ranked := float64(len(best.Gone)), q.ranked(best.Gone)
	for range halvings {
		if n *= portion; int(n) < 1 {
			break
		}
		more = append(more, q.placed(ranked[:int(n)], 0, firstPlan))
	}
	return more
}

// size is how many drafts like this one the effort comes to.
func (q *problem) size(d *draft) int { return drawEffort / max(1, d.evictions) }

// placed draws a draft; nodes with a pod that has no place are left out of it.
func (q *problem) placed(gone []int, slack, effort float64) *draft {
	d := q.draw(gone, slack, effort)
	for range unplacedOnce {
		if len(d.stuck) == 0 {
			return d
		}
		homeless := map[int]int{}
		for _, u := range d.stuck {
			homeless[u.Pod] = u.Pod
		}
		rest := slices.DeleteFunc(slices.Clone(gone), func(n int) bool { return q.block(n, homeless) })
		if len(rest) == len(gone) {
			return d // pending pods alone have no place
		}
		gone = rest
		d = q.draw(gone, slack, effort)
	}
	return d
}

// block a node that has one of the pods; false if it has none.
func (q *problem) block(node int, homeless map[int]int) bool {
	for _, pod := range q.w.Nodes[node].Moves {
		if _, ok := homeless[pod]; ok {
			p := q.w.Book.Pod(pod)
			q.blocked[node] = p.GetNamespace() + "/" + p.GetName()
			return true
		}
	}
	return false
}

// least of the drafts that may be taken; nil if none may.
func (q *problem) least(drafts []*draft) *draft {
	var best *draft
	for _, d := range drafts {
		if q.refusal(d) == "" && (best == nil || d.judged < best.judged-neverWorse) {
			best = d
		}
	}
	return best
}

// better of two, the second if they are alike.
func (q *problem) better(a, b *draft) *draft {
	if q.refusal(a) == "" && a.judged < b.judged-neverWorse {
		return a
	}
	return b
}

// settlingSavings is the least share of the bill that is worth another change while
// the nodes of the last one are still fresh.
const settlingSavings = 0.25

// refusal is why a draft may not be taken, empty if it may.
func (q *problem) refusal(d *draft) string {
	switch {
	case len(d.stuck) > 0:
		return reasonUnschedulable
	case d.short != "":
		return d.short
	case d.evictions > q.most:
		return q.mostName
	case len(d.Gone) > q.nodes:
		return limitDisrupted
	case q.l.maxNodes > 0 && len(d.Buy) > q.l.maxNodes:
		return limitNewNodes
	case q.needy:
		return "" // room must be had, whatever it costs
	}
	return q.worthless(d)
}

// worthless is why a draft that keeps the limits on what is done gains too little.
func (q *problem) worthless(d *draft) string {
	least := q.l.minSavings
	if q.w.Settling() {
		least = max(least, settlingSavings)
	}
	saved := q.before - d.cost
	switch {
	case len(d.Gone) == 0:
		return reasonDearer
	case saved <= neverWorse || saved < least*q.before || saved*figure.HoursPerMonth < q.l.minUSD || d.judged >= q.idle():
		return reasonMinSavings
	case !q.worthwhile(d.cost, d.weight):
		return limitScore
	}
	return ""
}

// idle is what doing nothing is judged by.
func (q *problem) idle() float64 { return q.judged(q.before, 0, 0, 0) }

// search for a better draft in the neighbourhood: a node more, a node less, one
// instead of another, two more at once.
func (q *problem) search(best *draft) *draft {
	s := &searcher{problem: q, best: best, left: min(mostDrafts, q.size(best)-leastDrafts)}
	for range sweepsOfAll {
		before := s.best.judged
		s.sweep()
		if s.left <= 0 || s.best.judged > before-neverWorse {
			break
		}
	}
	return s.best
}

type searcher struct {
	*problem
	best *draft
	left int // drafts that may still be drawn
}

// sweep over all nodes once, those first whose change promises most by estimate.
func (s *searcher) sweep() {
	s.alone()
	s.pairs()
}

// alone tries to keep or to give up one node each.
func (s *searcher) alone() {
	for _, n := range s.promising() {
		if s.left <= 0 {
			return
		}
		if at := slices.Index(s.best.Gone, n.node); at >= 0 {
			s.try(slices.Delete(slices.Clone(s.best.Gone), at, at+1))
		} else {
			s.try(append(slices.Clone(s.best.Gone), n.node))
		}
	}
}

// pairs of nodes: one for another, or two more whose pods complement each other.
func (s *searcher) pairs() {
	first := s.promising()
	first = first[:min(len(first), pairsOf)]
	for i, a := range first {
		for _, b := range first[:i] {
			if s.left <= 0 {
				return
			}
			s.try(toggled(toggled(s.best.Gone, a.node), b.node))
		}
	}
}

func toggled(nodes []int, node int) []int {
	if at := slices.Index(nodes, node); at >= 0 {
		return slices.Delete(slices.Clone(nodes), at, at+1)
	}
	return append(slices.Clone(nodes), node)
}

// try a set of nodes.
func (s *searcher) try(gone []int) {
	if t := s.tallyOf(gone); len(gone) == 0 || t.evictions > s.most || t.nodes > s.nodes {
		return
	}
	s.left--
	s.best = s.better(s.draw(gone, 0, firstPlan), s.best)
}

// promising nodes first: those whose change costs least by estimate.
func (s *searcher) promising() []*candidate {
	now := s.tallyOf(s.best.Gone)
	worth, _ := s.dearest(now.lacking)
	gain := map[*candidate]float64{}
	for _, n := range s.movable {
		gain[n] = math.Abs(n.price + nodeCost - worth.times(n.room) - s.hourly*n.weight)
	}
	order := slices.Clone(s.movable)
	slices.SortStableFunc(order, func(a, b *candidate) int { return cmp.Compare(gain[a], gain[b]) })
	return order
}

// tallyOf a set of nodes.
func (q *problem) tallyOf(gone []int) tally {
	in := make([]bool, len(q.w.Nodes))
	for _, n := range gone {
		in[n] = true
	}
	t := q.nothing()
	for _, n := range q.movable {
		if in[n.node] {
			t = t.with(n)
		}
	}
	return t
}

// ranked is the nodes of a set, those first that save most for what they disturb.
func (q *problem) ranked(gone []int) []int {
	in := make([]bool, len(q.w.Nodes))
	for _, n := range gone {
		in[n] = true
	}
	worth, _ := q.dearest(q.tallyOf(gone).lacking)
	var nodes []int
	for _, n := range q.byGain(worth) {
		if in[n.node] {
			nodes = append(nodes, n.node)
		}
	}
	return nodes
}
