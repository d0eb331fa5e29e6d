package binpack

import (
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/pack"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

const (
	// restartCost is what one unplanned restart of a pod is taken to cost, USD, as in
	// spot_optimize.
	restartCost = 1.0
	// nodeCost per hour of every node whatever its size: a root volume of 20 GiB gp3
	// costs about 1.60 USD a month. It keeps plans from falling into crumbs.
	nodeCost = 0.0022
	// podsPerCPU that an interruption of a spot node is taken to restart.
	podsPerCPU = 4
	// priorityUnit and mostWeight: one eviction counts 1 + priority ÷ 2^25 and from 0 to
	// 10, as Karpenter's Balanced policy has it.
	priorityUnit = 1 << 25
	mostWeight   = 10
)

// problem is what one decision works on.
type problem struct {
	w       *scene.World
	l       limits
	all     []*shop.Column // with those that cannot be taken
	columns []*shop.Column // that may be bought
	duals   []load

	movable []*candidate // nodes that may go
	waiting map[int]int  // pending pods and the nodes that have room for them today
	moving  int          // pods of all nodes that are not DaemonSets'
	weight  float64      // eviction costs of all of them, and 1 for each node
	lacking load         // less than nothing: the room that nodes have left, but for what must stay free

	before   float64 // USD per hour of all nodes
	hourly   float64 // USD per hour that an eviction costs if paid for within a month
	bound    float64 // see Consolidation.lower_bound
	most     int     // evictions
	mostName string  // the constraint behind most
	needy    bool    // the room that must stay free is not there today
	scarce   bool    // not all nodes may go for it
	nodes    int     // most that may go

	staged    map[float64]*fit.Cluster // see stage
	blocked   map[int]string           // node → pod that found no place when the node was to go
	limitedBy map[string]bool
	weighed   []*draft // before rehearsals
}

// candidate is a node that may go.
type candidate struct {
	node      int
	price     float64
	evictions int
	weight    float64 // eviction costs of its pods, and 1 for the node
	used      load    // by the pods that move
	room      load    // used, and what is free for others today
}

func newProblem(w *scene.World, l limits, all []*shop.Column) *problem {
	q := &problem{
		w: w, l: l, all: all, before: w.CostPerHour(), hourly: l.evictionCost / figure.HoursPerMonth,
		waiting: map[int]int{}, blocked: map[int]string{}, limitedBy: map[string]bool{}, staged: map[float64]*fit.Cluster{}, lacking: l.spare,
	}
	largest := q.largest()
	for _, c := range shop.Takeable(all) {
		if float64(c.Type.VCPU) <= largest && q.keepsOption(c) {
			q.columns = append(q.columns, c)
		}
	}
	q.duals = duals(q.columns, nodeCost)
	today := q.seat()
	for i, n := range w.Nodes {
		free := loadOf(today.Spare(i)).positive()
		if !n.Place.Closed {
			q.lacking = q.lacking.plus(free, -1)
		}
		q.moving += len(n.Moves)
		c := q.candidate(i, free)
		q.weight += c.weight
		if n.Reason == "" {
			q.movable = append(q.movable, c)
		}
	}
	q.most, q.mostName = l.mostEvictions(q.moving)
	q.needy = q.missing(&draft{cluster: today}) != load{}
	q.scarce = q.whole().evictions > q.most
	q.nodes = l.mostDisrupted(len(w.Nodes))
	q.bound = q.lowerBound()
	return q
}

// seat pending pods where the scheduler would put them today; those without a place
// are none of this engine's business. It returns the cluster with them.
func (q *problem) seat() *fit.Cluster {
	today := q.w.Today()
	s := change.Plain
	s.Settle(today, q.w.Pending)
	for _, pod := range q.w.Pending {
		if at := today.At(pod); at >= 0 {
			q.waiting[pod] = at
		}
	}
	return today
}

func (q *problem) candidate(i int, free load) *candidate {
	n := q.w.Nodes[i]
	c := &candidate{node: i, price: n.Price, evictions: len(n.Moves), weight: 1}
	for _, pod := range n.Moves {
		c.used = c.used.plus(loadOf(q.w.Book.Requests(pod)), 1)
		c.weight += evictionWeight(q.w.Book.Pod(pod).GetPriority())
	}
	c.room = c.used
	if !n.Place.Closed {
		c.room = c.room.plus(free, 1)
	}
	return c
}

// evictionWeight of a pod. The pod-deletion-cost annotation is not in the state.
func evictionWeight(priority int32) float64 {
	return min(mostWeight, max(0, 1+float64(priority)/priorityUnit))
}

// keepsOption says whether a column is bought as some node of the cluster is, unless
// the request names how nodes are bought.
func (q *problem) keepsOption(c *shop.Column) bool {
	return len(q.l.capacity) > 0 || slices.ContainsFunc(q.w.Nodes, func(n *scene.Node) bool { return n.Spot == c.AsSpot })
}

// largest vCPU count that one new node may have.
func (q *problem) largest() float64 {
	sum, most := 0.0, 0.0
	for _, n := range q.w.Nodes {
		sum += n.VCPU
		most = max(most, n.VCPU)
	}
	return max(most, q.l.nodeShare*sum)
}

// lowerBound on what nodes for all the pods could cost.
func (q *problem) lowerBound() float64 {
	if len(q.columns) == 0 {
		return 0
	}
	p := pack.Problem{Book: q.w.Book, Offers: offers(q.columns, 0)}
	for _, n := range q.w.Nodes {
		p.Pods = append(p.Pods, n.Moves...)
	}
	for i, c := range q.columns {
		p.Offers[i].Price = c.Price
	}
	return pack.LowerBound(p)
}
