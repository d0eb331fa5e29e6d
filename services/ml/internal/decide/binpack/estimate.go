package binpack

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// load is an amount of resources for estimates: vCPU, GiB and pod slots; and, as a
// dual, what one of each is worth in USD per hour.
type load struct{ cpu, memory, pods float64 }

func loadOf(a fit.Amounts) load {
	return load{cpu: float64(a.CPU) / 1000, memory: float64(a.Memory) / scene.GiB, pods: float64(a.Pods)}
}

func (a load) plus(b load, sign float64) load {
	return load{a.cpu + sign*b.cpu, a.memory + sign*b.memory, a.pods + sign*b.pods}
}

func (a load) positive() load { return load{max(0, a.cpu), max(0, a.memory), max(0, a.pods)} }

func (a load) times(b load) float64 { return a.cpu*b.cpu + a.memory*b.memory + a.pods*b.pods }

// Ratios of a GiB's and a slot's price to a vCPU's that duals are tried with. One
// slightly off costs a fraction of the step between two.
const (
	memorySteps  = 40
	memoryLeast  = 0.008
	memoryFactor = 1.2 // 40 steps reach from 0.008 to 10
)

var slotRatios = [...]float64{0, 0.01, 0.05}

// duals are prices of resources under which no column offers its room for less than
// it is worth: what a demand is worth under the dearest of them is the least that
// nodes for it can cost, with something for each node beside its price. The first is free:
// nothing has to be bought.
func duals(columns []*shop.Column, each float64) []load {
	all := []load{{}}
	add := func(d load) {
		unit := math.Inf(1)
		for _, c := range columns {
			if worth := d.times(loadOf(c.Room)); worth > 0 {
				unit = min(unit, (c.Price+each)/worth)
			}
		}
		if !math.IsInf(unit, 1) {
			all = append(all, load{d.cpu * unit, d.memory * unit, d.pods * unit})
		}
	}
	add(load{memory: 1})
	add(load{cpu: 1})
	ratio := memoryLeast
	for range memorySteps {
		for _, slot := range slotRatios {
			add(load{cpu: 1, memory: ratio, pods: slot})
		}
		ratio *= memoryFactor
	}
	return all
}

// dearest dual for what is lacking, and what that is worth.
func (q *problem) dearest(lacking load) (load, float64) {
	best, worth := load{}, 0.0
	for _, d := range q.duals {
		if v := d.times(lacking); v > worth {
			best, worth = d, v
		}
	}
	return best, worth
}

// tally is a set of nodes that go, as estimates see it.
type tally struct {
	nodes     int
	evictions int
	weight    float64 // eviction costs of the pods, and 1 for each node
	price     float64
	lacking   load // what the pods ask for beyond the room of the nodes that stay
}

// nothing goes.
func (q *problem) nothing() tally { return tally{lacking: q.lacking} }

// with one node more.
func (t tally) with(n *candidate) tally {
	return tally{
		nodes: t.nodes + 1, evictions: t.evictions + n.evictions, weight: t.weight + n.weight, price: t.price + n.price,
		lacking: t.lacking.plus(n.room, 1),
	}
}

// cost per hour of all nodes, if all room could be used; infinite where nothing may
// be bought and the room does not suffice.
func (q *problem) cost(t tally) float64 {
	kept := q.before - t.price
	if !q.l.purchases {
		if t.lacking.cpu > granularity || t.lacking.memory > granularity || t.lacking.pods > granularity {
			return math.Inf(1)
		}
		return kept
	}
	_, worth := q.dearest(t.lacking)
	return kept + worth*(1+q.insurance())
}

// insurance is the share that new nodes cost more where the scheduler decides who goes
// where: it spreads pods that a packer would match. Seen on fragmented clusters of many
// sizes: 15 to 25 %.
func (q *problem) insurance() float64 {
	if q.l.planned {
		return 0
	}
	return expectedInsurance
}

const expectedInsurance = 0.18

// judged is what plans are compared by, USD per hour: cost, and evictions as if each
// were paid for within a month.
func (q *problem) judged(cost, weight float64, removed, bought int) float64 {
	return cost + q.hourly*weight + nodeCost*float64(bought-removed)
}

// Prices of an eviction that the floor is tried with, USD per hour.
const (
	floorSteps  = 60
	floorLeast  = 0.0002
	floorFactor = 1.15 // 60 steps reach to 0.9
)

// floor is the least that any plan with the evictions allowed can cost. By the dual of
// the linear relaxation: for every price of resources that no column undercuts and
// every price of an eviction, each node either stays or goes, whichever is cheaper.
func (q *problem) floor() float64 {
	if len(q.columns) == 0 {
		return 0
	}
	best := 0.0
	for _, worth := range duals(q.columns, 0) {
		eviction := 0.0
		for step := range floorSteps {
			best = max(best, q.relaxed(worth, eviction))
			if eviction *= floorFactor; step == 0 {
				eviction = floorLeast
			}
		}
	}
	return best
}

func (q *problem) relaxed(worth load, eviction float64) float64 {
	sum := q.before + worth.times(q.lacking) - eviction*float64(q.most)
	for _, n := range q.movable {
		sum += min(0, worth.times(n.room)+eviction*float64(n.evictions)-n.price)
	}
	return sum
}
