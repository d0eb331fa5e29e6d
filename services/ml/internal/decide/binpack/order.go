package binpack

import (
	"cmp"
	"slices"
)

// proposal is nodes that might go together, before anything is placed.
type proposal struct {
	gone []*candidate
	sum  tally
	cost float64 // see problem.judged
}

// proposals are the best sets that each order of nodes has, cheapest first. In the
// linear relaxation a node goes if what its room is worth to others, and the
// evictions, cost less than it does; what room is worth depends on what goes, so
// several worths are tried, and the one that reproduces itself.
func (q *problem) proposals() []proposal {
	var all []proposal
	seen := map[string]bool{}
	consider := func(p proposal) {
		if key := p.key(); len(p.gone) > 0 && !seen[key] {
			seen[key] = true
			all = append(all, p)
		}
	}
	market, _ := q.dearest(q.whole().lacking.plus(q.l.spare, 1))
	for _, d := range q.worths(market) {
		consider(q.bestPrefix(q.byGain(d)))
	}
	d := market
	for range selfConsistent {
		p := q.bestPrefix(q.byGain(d))
		consider(p)
		next, _ := q.dearest(p.sum.lacking)
		if next == d {
			break
		}
		d = next
	}
	consider(q.bestPrefix(q.byWaste(market)))
	consider(q.bestPrefix(q.byPods()))
	slices.SortStableFunc(all, func(a, b proposal) int { return cmp.Compare(a.cost, b.cost) })
	return all
}

const selfConsistent = 8 // rounds until a worth reproduces itself, at most

// worths of resources to try: the market's, none (room is plenty), and each resource
// alone, as where the other is left over: nodes of the complementary kind go.
func (q *problem) worths(market load) []load {
	return []load{market, {}, {cpu: market.cpu}, {memory: market.memory}, {cpu: market.cpu / 2, memory: market.memory / 2, pods: market.pods / 2}}
}

// whole is all that may go.
func (q *problem) whole() tally {
	t := q.nothing()
	for _, n := range q.movable {
		t = t.with(n)
	}
	return t
}

// byGain orders by what a node costs beyond the worth of its room, for what moving its
// pods costs.
func (q *problem) byGain(worth load) []*candidate {
	return q.ordered(func(n *candidate) float64 {
		return (n.price + nodeCost - worth.times(n.room)) / q.disturbance(n)
	})
}

// byWaste orders by what a node costs beyond the worth of what runs there.
func (q *problem) byWaste(worth load) []*candidate {
	return q.ordered(func(n *candidate) float64 { return n.price - worth.times(n.used) })
}

// byPods orders by the number of pods, fewest first.
func (q *problem) byPods() []*candidate {
	return q.ordered(func(n *candidate) float64 { return -float64(n.evictions) })
}

// disturbance of a node's going: where a limit on evictions binds, they are what is
// scarce, whatever they weigh.
func (q *problem) disturbance(n *candidate) float64 {
	if q.scarce {
		return float64(n.evictions) + 0.25
	}
	return n.weight
}

func (q *problem) ordered(score func(*candidate) float64) []*candidate {
	scores := make(map[*candidate]float64, len(q.movable))
	for _, n := range q.movable {
		scores[n] = score(n)
	}
	order := slices.Clone(q.movable)
	slices.SortStableFunc(order, func(a, b *candidate) int { return cmp.Compare(scores[b], scores[a]) })
	return order
}

// bestPrefix of an order within the limits by estimate; nodes that would break a
// limit are passed over.
func (q *problem) bestPrefix(order []*candidate) proposal {
	var best proposal
	best.cost = q.judged(q.cost(q.nothing()), 0, 0, 0)
	var gone []*candidate
	t := q.nothing()
	for _, n := range order {
		next := t.with(n)
		if next.evictions > q.most || next.nodes > q.nodes {
			continue
		}
		t, gone = next, append(gone, n)
		cost := q.cost(t)
		if judged := q.judged(cost, t.weight, t.nodes, 0); judged < best.cost && q.worthwhile(cost, t.weight) {
			best.sum, best.cost, best.gone = t, judged, gone[:len(gone):len(gone)]
		}
	}
	return best
}

// score of a plan: savings share for disruption share.
func (q *problem) score(cost, weight float64) float64 {
	if weight <= 0 || q.before <= 0 {
		return 0
	}
	return (q.before - cost) / q.before / (weight / q.weight)
}

// worthwhile says whether savings are in proportion to what is disturbed.
func (q *problem) worthwhile(cost, weight float64) bool { return q.score(cost, weight) >= q.l.minScore }

// key of a set.
func (p proposal) key() string {
	nodes := p.nodes()
	slices.Sort(nodes)
	b := make([]byte, 0, 3*len(nodes))
	for _, n := range nodes {
		b = append(b, byte(n), byte(n>>8), byte(n>>16))
	}
	return string(b)
}

func (p proposal) nodes() []int {
	nodes := make([]int, 0, len(p.gone))
	for _, n := range p.gone {
		nodes = append(nodes, n.node)
	}
	return nodes
}
