package binpack

import (
	"cmp"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/pack"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// slacks are shares of a new node that the packer leaves free. The scheduler spreads
// where the packer fills, so some must be; how much is cheapest is tried out.
var slacks = []float64{0.12, change.Margin, 0.2}

const (
	repairs         = 6         // times room is added for pods that the scheduler left stuck
	keeps           = 4         // times nodes are kept for them after that
	rehearsalEffort = 1_500_000 // pods moved × nodes that the rehearsals of one plan come to
	leastRehearsals = 2
	mostRehearsals  = 32
	fewRehearsals   = 4 // at this or below a cluster counts as large: one slack is tried
)

// settle for a plan that survives the foretold scheduler: the best draft, or a part of
// it, with room added or nodes kept for pods that got stuck. Insurance costs the more
// the more moves, so on clusters that are not large parts are tried in any case.
func (q *problem) settle(best *draft) *draft {
	ranked, n := q.ranked(best.Gone), float64(len(best.Gone))
	large := q.rehearsals(best) <= fewRehearsals
	if large {
		n = q.settled(ranked)
	}
	var taken *draft
	for range halvings {
		if d := q.survivor(ranked[:int(n)], large); d != nil && (taken == nil || d.judged < taken.judged) {
			taken = d
		}
		if n *= portion; int(n) == 0 || large && taken != nil {
			break
		}
	}
	return taken
}

const (
	fewStuck = 0.05 // share of the evicted pods that may be stuck at first
	smaller  = 0.7  // portion that is tried where more are
)

// settled is how many of the nodes may go before the scheduler leaves more pods stuck
// than are mended cheaply; looked for by one rehearsal each.
func (q *problem) settled(ranked []int) float64 {
	n := float64(len(ranked))
	for range halvings {
		d := q.placed(ranked[:int(n)], slacks[0], firstPlan)
		d.Gone = q.drainOrder(d.Gone)
		if stuck := d.Failure(q.w, q.seated(), 0, 1); float64(len(stuck)) <= fewStuck*float64(d.evictions) {
			break
		}
		n *= smaller
	}
	return n
}

// survivor is the cheapest plan that does without the nodes, or without nearly all,
// and survives; nil if none does.
func (q *problem) survivor(gone []int, large bool) *draft {
	var best *draft
	for _, slack := range slacks {
		d := q.mended(q.placed(gone, slack, firstPlan))
		if d != nil && q.refusal(d) == "" && (best == nil || d.judged < best.judged) {
			best = d
		}
		if len(q.columns) == 0 || large {
			break // slack is of new nodes, and on a large cluster other slacks cost more time than they save money
		}
	}
	return best
}

// mended is a draft with what its rehearsals ask for; nil if they never end well.
func (q *problem) mended(d *draft) *draft {
	waiting := q.seated()
	for round := range repairs + keeps {
		if len(d.stuck) > 0 {
			return nil
		}
		d.Gone = q.drainOrder(d.Gone)
		n := q.rehearsals(d)
		stuck := d.Failure(q.w, waiting, 0, n)
		if len(stuck) == 0 {
			d.rehearsals = n
			return d
		}
		if round < repairs && q.add(d, slices.Repeat(stuck, 1+round)) {
			continue
		}
		if d = q.keep(d, stuck, max(0, round-repairs)); d == nil {
			return nil
		}
	}
	return nil
}

// seated are the pending pods that have room today.
func (q *problem) seated() []int {
	var pods []int
	for _, pod := range q.w.Pending {
		if _, ok := q.waiting[pod]; ok {
			pods = append(pods, pod)
		}
	}
	return pods
}

// rehearsals that a plan must survive: the more, the fewer surprises.
func (q *problem) rehearsals(d *draft) int {
	return min(mostRehearsals, max(leastRehearsals, rehearsalEffort/max(1, d.evictions*(len(q.w.Nodes)+10))))
}

// add nodes for pods that got stuck; false if keeping the nodes they are on is cheaper,
// or nothing may be bought.
func (q *problem) add(d *draft, stuck []int) bool {
	columns := q.columnsFor(stuck)
	if len(columns) == 0 {
		return false
	}
	p := pack.Problem{Book: q.w.Book, Pods: unique(stuck), Offers: offers(columns, change.Margin), Effort: firstPlan}
	if q.l.maxNodes > 0 {
		if p.MaxNodes = q.l.maxNodes - len(d.Buy); p.MaxNodes <= 0 {
			return false
		}
	}
	plan := pack.Solve(p)
	kept := 0.0
	for _, n := range q.homes(d, stuck) {
		kept += q.w.Nodes[n].Price
	}
	if len(plan.Buy) == 0 || len(plan.Unplaced) > 0 || plan.Cost > kept {
		return false
	}
	for _, b := range plan.Buy {
		// Others take part of what is added, so more is added when it was asked for twice.
		for range max(1, len(stuck)/len(p.Pods)) {
			d.cluster.AddNode(columns[b.Offer].Node(change.NewName(len(d.Buy))))
			d.Buy = append(d.Buy, columns[b.Offer])
		}
	}
	q.price(d)
	return true
}

// columnsFor pods that got stuck: on demand, unless all of them were on spot nodes.
func (q *problem) columnsFor(stuck []int) []*shop.Column {
	if len(q.l.capacity) > 0 {
		return q.columns
	}
	spot := true
	for _, n := range q.w.Nodes {
		if !n.Spot && slices.ContainsFunc(n.Moves, func(pod int) bool { return slices.Contains(stuck, pod) }) {
			spot = false
		}
	}
	return q.bought(spot)
}

func unique(pods []int) []int {
	var all []int
	seen := map[int]bool{}
	for _, pod := range pods {
		if !seen[pod] {
			seen[pod] = true
			all = append(all, pod)
		}
	}
	return all
}

// homes are the nodes of a draft's that have the pods today.
func (q *problem) homes(d *draft, pods []int) []int {
	var nodes []int
	for _, n := range d.Gone {
		if slices.ContainsFunc(q.w.Nodes[n].Moves, func(pod int) bool { return slices.Contains(pods, pod) }) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// keep the nodes of stuck pods, and more of the others with each round, those that
// save least; nil if nothing is left.
func (q *problem) keep(d *draft, stuck []int, round int) *draft {
	homes := q.homes(d, stuck)
	rest := slices.DeleteFunc(slices.Clone(d.Gone), func(n int) bool { return slices.Contains(homes, n) })
	if len(homes) == 0 && len(rest) > 0 { // pending pods alone are stuck
		rest = rest[:len(rest)-1]
	}
	if extra := len(rest) * round / 8; extra > 0 {
		slices.SortStableFunc(rest, func(a, b int) int { return len(q.w.Nodes[a].Moves) - len(q.w.Nodes[b].Moves) })
		rest = rest[:len(rest)-extra]
	}
	if len(rest) == 0 {
		return nil
	}
	return q.placed(rest, change.Margin, firstPlan)
}

// drainOrder puts the nodes first with the pods that are hardest to place: those with
// rules, then the large ones. Small ones fill what the scheduler leaves between them.
func (q *problem) drainOrder(nodes []int) []int {
	hard, size := map[int]float64{}, map[int]float64{}
	for _, n := range nodes {
		for _, pod := range q.w.Nodes[n].Moves {
			need := loadOf(q.w.Book.Requests(pod))
			size[n] = max(size[n], need.cpu, need.memory/memoryPerCPU)
			hard[n] += change.Hardness(q.w, pod)
		}
	}
	ordered := slices.Clone(nodes)
	slices.SortStableFunc(ordered, func(a, b int) int {
		return cmp.Or(cmp.Compare(hard[b], hard[a]), cmp.Compare(size[b], size[a]), cmp.Compare(len(q.w.Nodes[a].Moves), len(q.w.Nodes[b].Moves)))
	})
	return ordered
}

// memoryPerCPU of a middling node, GiB.
const memoryPerCPU = 4
