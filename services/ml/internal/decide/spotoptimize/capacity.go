package spotoptimize

import (
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// lacking is what the new nodes do not offer yet of what is wanted: nodes, if
// a number was asked for, else vCPU and memory together.
func lacking(want wants, buy []*column) wants {
	if want.nodes > 0 {
		return wants{nodes: max(0, want.nodes-len(buy))}
	}
	rest := wants{cpu: want.cpu, memoryGiB: want.memoryGiB}
	for _, c := range buy {
		rest.cpu -= float64(c.Type.VCPU)
		rest.memoryGiB -= shop.MemoryGiB(c.Type)
	}
	rest.cpu, rest.memoryGiB = max(0, rest.cpu), max(0, rest.memoryGiB)
	return rest
}

// topUp buys until nothing is lacking, the cheapest first for what is lacking, within
// the limits. It names the limit that stopped it.
func topUp(ledger *ledger, shelf *shelf, want wants, buy []*column, spots int) ([]*column, string) {
	all := sums(want)
	for {
		rest := lacking(want, buy)
		if rest == (wants{}) {
			return buy, ""
		}
		if ledger.l.maxNodes > 0 && ledger.new >= ledger.l.maxNodes {
			return buy, "max_nodes"
		}
		best := cheapestFor(rest, all, ledger, shelf, spots)
		if best == nil {
			return buy, ledger.shut(shelf.columns)
		}
		ledger.add(best)
		buy = append(buy, best)
	}
}

func sums(want wants) fit.Amounts {
	return fit.Amounts{CPU: int64(want.cpu * 1000), Memory: int64(want.memoryGiB * gib)}
}

// cheapestFor what is lacking: the lowest price for each unit of it that the node gives.
func cheapestFor(rest wants, all fit.Amounts, ledger *ledger, shelf *shelf, spots int) *column {
	var w weights
	if dual := shelf.dual(all); dual >= 0 {
		w = shelf.duals[dual]
	}
	least := leastShare(rest, w, ledger)
	var best *column
	score := math.Inf(1)
	for _, c := range shelf.columns {
		if !ledger.zoneOpen(c) || c.AsSpot && (!ledger.spotOpen(c, spots) || rest.nodes == 0 && tooLarge(c, all, ledger.l)) {
			continue
		}
		gives := rest.from(c, w)
		if gives <= 0 || gives < least {
			continue
		}
		if s := ledger.cost(c, typicalPods(c)) / gives; s < score {
			best, score = c, s
		}
	}
	return best
}

// from a node, the value of what it gives of what is lacking; all nodes that are
// large enough give the same where a number of nodes is lacking.
func (rest wants) from(c *column, w weights) float64 {
	if rest.nodes > 0 {
		return 1
	}
	return w.value(fit.Amounts{
		CPU:    int64(min(rest.cpu, float64(c.Type.VCPU)) * 1000),
		Memory: int64(min(rest.memoryGiB, shop.MemoryGiB(c.Type)) * gib),
	})
}

// leastShare that a node must give so that the nodes still allowed suffice.
func leastShare(rest wants, w weights, ledger *ledger) float64 {
	if ledger.l.maxNodes == 0 || rest.nodes > 0 {
		return 0
	}
	return w.value(sums(rest)) / float64(max(1, ledger.l.maxNodes-ledger.new)) * (1 - defaultGranularity)
}

// tooLarge is a node that alone would be more of the whole than a pool may be,
// unless it is as small as nodes get.
func tooLarge(c *column, all fit.Amounts, l limits) bool {
	const small = 2 // vCPU
	return c.Type.VCPU > small && l.maxNodes == 0 && float64(c.Type.VCPU)*1000 > l.poolShare*float64(all.CPU) &&
		float64(c.Type.MemoryMiB)*(1<<20) > l.poolShare*float64(all.Memory)
}

// typicalPods that an interruption of the node would restart, where none are known.
func typicalPods(c *column) float64 { return 4 * float64(c.Type.VCPU) }

// fromNothing chooses capacity for requirements alone.
func (q *problem) fromNothing() outcome {
	if q.want.urgent {
		return q.urgent()
	}
	shelf := newShelf(q.columns, nominal)
	o := q.fromGuess(newGuess(0, false), shelf)
	if !o.ok() && q.l.zoneShare < 1 {
		o = q.fromGuess(newGuess(0, true), shelf)
	}
	return o
}

func (q *problem) fromGuess(g guess, shelf *shelf) outcome {
	var o outcome
	for range 10 {
		ledger := q.w.ledgerFor(nil, q.l)
		g.tell(ledger, q.want.vcpu())
		buy, limit := topUp(ledger, shelf, q.want, nil, g.spots)
		o = outcome{plan: plan{Buy: buy}, limit: limit}
		if limit == "" {
			o.limit = q.w.broken(o.plan, q.l)
		}
		if g.spots == 1 || !g.mend(o.limit, ledger.newSpot) {
			break
		}
	}
	return o
}

// urgent capacity: on demand, the fewest nodes of the one type that costs least.
func (q *problem) urgent() outcome {
	var best []*column
	price := math.Inf(1)
	for _, c := range q.columns {
		if c.AsSpot {
			continue
		}
		n := q.want.nodes
		if n == 0 {
			n = max(1, int(math.Ceil(q.want.cpu/float64(c.Type.VCPU))), int(math.Ceil(q.want.memoryGiB/shop.MemoryGiB(c.Type))))
		}
		if q.l.maxNodes > 0 && n > q.l.maxNodes {
			continue
		}
		if total := float64(n) * c.Price; total < price || total == price && n < len(best) {
			price, best = total, slices.Repeat([]*column{c}, n)
		}
	}
	if best == nil {
		return outcome{limit: "max_nodes"}
	}
	return outcome{plan: plan{Buy: best}, limit: q.w.broken(plan{Buy: best}, q.l)}
}
