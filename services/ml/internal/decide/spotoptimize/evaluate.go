package spotoptimize

import (
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// problem is what one decision works on.
type problem struct {
	w       *world
	l       limits
	want    wants
	columns []*column // takeable
	shelf   *shelf    // the same, by value
	waiting []int     // pending pods that can be placed at all

	extending bool // a plan is carried on, so its new nodes are no reason to wait

	light   bool      // solved quickly, to be compared with others solved so
	stopped string    // the limit that a plan without all the nodes breaks, empty if none
	stock   []*column // what may be bought but for ceilings; made when first needed
	rivals  []plan    // the best that were met on the way
	spent   int       // quick solutions that were tried beside
	reasons []reason  // why nodes stay whatever is solved
}

func newProblem(w *world, l limits, want wants, columns []*column) *problem {
	can := shop.Takeable(columns)
	return &problem{w: w, l: l, want: want, columns: can, shelf: newShelf(can, free), reasons: w.reasons()}
}

// outcome of trying to do without some nodes.
type outcome struct {
	plan  plan
	stuck []int  // pods that found no place
	limit string // that stopped it, empty if none
}

func (o outcome) ok() bool { return len(o.stuck) == 0 && o.limit == "" }

const repairs = 4 // times capacity is added for pods that the scheduler left stuck

// slacks are shares of a new node that the packer leaves free at first. The
// scheduler spreads where the packer fills, so some must be; how much is cheapest
// (too little is mended at a price) is tried out.
var slacks = []float64{0.06, 0, 0.12, 0.18, 0.25, 0.3, 0.35, 0.42, 0.5}

// without finds the cheapest plan that does without the nodes.
func (q *problem) without(gone []int) outcome {
	gone = q.w.drainOrder(gone)
	var best outcome
	for i, slack := range slacks {
		limit := math.Inf(1)
		if best.ok() && i > 0 {
			limit = q.w.worth(best.plan)
		}
		o := q.attempt(gone, slack, limit)
		if i == 0 || better(q.w, o, best) {
			best = o
		}
		if o.ok() && (q.light || q.w.trials() < fewTrials) {
			break // on a large cluster a second attempt costs more time than it saves money
		}
	}
	return best
}

func better(w *world, a, b outcome) bool {
	if a.ok() != b.ok() {
		return a.ok()
	}
	return w.worth(a.plan) < w.worth(b.plan)
}

// attempt packs, rehearses, and adds nodes for pods that got stuck. It gives up
// once the plan is worth no less than another that is known, in USD per hour.
func (q *problem) attempt(gone []int, slack, known float64) outcome {
	o := q.pack(gone, slack)
	if !o.ok() {
		return o
	}
	for round := range repairs {
		if q.w.worth(o.plan) >= known {
			return outcome{plan: o.plan, limit: "dearer than another plan"}
		}
		stuck := q.firstFailure(o.plan)
		if len(stuck) == 0 {
			o.limit = q.w.broken(o.plan, q.l)
			return o
		}
		before := len(o.plan.Buy)
		// Others take part of what is added, so more is added each time.
		if limit := q.addFor(&o.plan, slices.Repeat(stuck, 1+round/2)); limit != "" || len(o.plan.Buy) == before {
			return outcome{plan: o.plan, stuck: stuck, limit: limit}
		}
	}
	return outcome{plan: o.plan, stuck: q.firstFailure(o.plan), limit: q.w.broken(o.plan, q.l)}
}

// pack the pods of the nodes that go. How many spot nodes there will be decides
// how many one pool may have, so it is guessed high and lowered until it holds.
func (q *problem) pack(gone []int, slack float64) outcome {
	o := q.packFrom(newGuess(len(gone), false), gone, slack)
	if !o.ok() && q.l.zoneShare < 1 {
		o = q.packFrom(newGuess(len(gone), true), gone, slack)
	}
	return o
}

func (q *problem) packFrom(g guess, gone []int, slack float64) outcome {
	pods := slices.Clone(q.waiting)
	leaving := map[int]bool{}
	for _, n := range gone {
		pods = append(pods, q.w.Nodes[n].Moves...)
		leaving[n] = true
	}
	var o outcome
	for range 10 {
		o = q.packGuess(gone, leaving, pods, slack, g)
		got := 0
		for _, c := range o.plan.Buy {
			if c.AsSpot {
				got++
			}
		}
		g.nodes = max(1, len(o.plan.Buy)+len(q.w.Nodes)-len(gone))
		if !o.ok() || !g.mend(q.w.broken(o.plan, q.l), got) {
			break
		}
	}
	if o.ok() {
		o.limit = q.w.broken(o.plan, q.l)
	}
	return o
}

func (q *problem) packGuess(gone []int, leaving map[int]bool, pods []int, slack float64, g guess) outcome {
	p := newPacker(q.shelf, q.w.groups(pods, q.shelf, leaving, g.nodes), q.w.ledgerFor(gone, q.l))
	p.spots, p.slack, p.largest = g.spots, slack, g.largest*q.largest(gone)
	g.tell(p.ledger, p.demand)
	today := q.w.Today()
	var open []int
	for i := range q.w.Nodes {
		if !leaving[i] && !today.Node(i).Closed {
			open = append(open, i)
		}
	}
	p.useSpare(q.w, today, open)
	buy, misfits, limit := p.run()
	o := outcome{plan: plan{Gone: gone, Buy: buy}, limit: limit}
	for _, g := range misfits {
		o.stuck = append(o.stuck, p.groups[g].pods[len(p.groups[g].pods)-p.left[g]:]...)
	}
	if o.ok() {
		o.plan.Buy, o.limit = topUp(p.ledger, q.shelf, q.want, o.plan.Buy, g.spots)
	}
	return o
}

// largest vCPU count that one new node may have: the share a pool may have,
// squared, of all that goes (with a third per pool, a ninth), and no less than the
// largest node that goes. Otherwise the cheapest answer would be a few huge nodes.
func (q *problem) largest(gone []int) float64 {
	sum, most := 0.0, 0.0
	for _, n := range gone {
		sum += q.w.Nodes[n].VCPU
		most = max(most, q.w.Nodes[n].VCPU)
	}
	return max(most, q.l.poolShare*q.l.poolShare*sum)
}

// addFor buys nodes for pods that found no place among those of the plan.
func (q *problem) addFor(p *plan, stuck []int) (limit string) {
	ledger := q.w.ledgerFor(p.Gone, q.l)
	for _, c := range p.Buy {
		ledger.add(c)
	}
	leaving := map[int]bool{}
	for _, n := range p.Gone {
		leaving[n] = true
	}
	extra := newPacker(q.shelf, q.w.groups(stuck, q.shelf, leaving, len(p.Buy)), ledger)
	extra.spots, extra.slack, extra.largest = ledger.newSpot, slacks[0], q.largest(p.Gone)
	buy, _, limit := extra.run()
	p.Buy = append(p.Buy, buy...)
	return limit
}

// shrink tries to do with less: without a node, or with a cheaper one in its
// place, keeping what still survives the rehearsals.
func (q *problem) shrink(p *plan) {
	s := &shrinker{problem: q, left: q.w.trials(), refused: map[string]bool{}}
	for {
		smaller, ok := s.smaller(*p)
		if !ok {
			return
		}
		*p = smaller
	}
}

// harden a plan against schedulers that it has not met: shrinking keeps whatever
// survives the rehearsals, and so fits a plan to them.
func (q *problem) harden(p *plan) {
	first := q.w.rehearsals()
	for round := range repairs {
		stuck := p.Failure(q.w.World, q.waiting, first, q.w.freshRehearsals())
		if len(stuck) == 0 {
			return
		}
		more := plan{Gone: p.Gone, Buy: slices.Clone(p.Buy)}
		if limit := q.addFor(&more, slices.Repeat(stuck, 1+round/2)); limit != "" || q.w.broken(more, q.l) != "" {
			return
		}
		*p = more
	}
}

// shrinker tries smaller plans until it may try no more.
type shrinker struct {
	*problem
	left    int             // trials
	refused map[string]bool // what did not do for a larger plan will not do for a smaller one
}

// smaller plan, the first that holds.
func (s *shrinker) smaller(p plan) (plan, bool) {
	for _, i := range byPrice(p.Buy) {
		for _, instead := range append([]*column{nil}, s.cheaper(p, i)...) {
			if s.left <= 0 {
				return p, false
			}
			if trial := exchanged(p, i, instead); s.holds(trial, p.Buy[i], instead) {
				return trial, true
			}
		}
	}
	return p, false
}

// holds says whether a plan with one node changed survives; each kind of change
// that does not is tried once.
func (s *shrinker) holds(trial plan, from, to *column) bool {
	change := from.Pool() + from.NodeType()
	if to != nil {
		change += " " + to.Pool() + to.NodeType()
	}
	if s.refused[change] {
		return false
	}
	s.left--
	ok := s.w.broken(trial, s.l) == "" && s.satisfies(trial) && s.w.firstFailure(trial, s.waiting) == nil
	s.refused[change] = !ok
	return ok
}

// exchanged is the plan with one node taken out, and another in its place unless that
// is nil.
func exchanged(p plan, i int, instead *column) plan {
	buy := slices.Delete(slices.Clone(p.Buy), i, i+1)
	if instead != nil {
		buy = append(buy, instead)
	}
	return plan{Gone: p.Gone, Buy: buy}
}

func byPrice(buy []*column) []int {
	order := make([]int, len(buy))
	for i := range buy {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case buy[a].Price > buy[b].Price:
			return -1
		case buy[a].Price < buy[b].Price:
			return 1
		}
		return 0
	})
	return order
}

const (
	cheaperTried = 3    // cheaper columns tried for each node
	cheaperBy    = 0.03 // share of its price that makes a change worth a trial
)

// cheaper columns that might do in place of a node: those with most room among
// the cheaper ones of its kind.
func (q *problem) cheaper(p plan, i int) []*column {
	c := p.Buy[i]
	var all []*column
	for _, other := range q.columns {
		if other.AsSpot == c.AsSpot && other.Price < c.Price*(1-cheaperBy) && other.Room.CPU*2 >= c.Room.CPU && other.Room.Memory*2 >= c.Room.Memory &&
			float64(other.Type.VCPU) <= q.largest(p.Gone) {
			all = append(all, other)
		}
	}
	roominess := func(o *column) float64 {
		return min(1, float64(o.Room.CPU)/float64(c.Room.CPU)) + min(1, float64(o.Room.Memory)/float64(c.Room.Memory)) - o.Price/c.Price
	}
	slices.SortStableFunc(all, func(a, b *column) int {
		switch x, y := roominess(a), roominess(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return all[:min(len(all), cheaperTried)]
}

// satisfies says whether the new nodes offer what the request asks for beside
// room for the pods.
func (q *problem) satisfies(p plan) bool { return lacking(q.want, p.Buy) == wants{} }
