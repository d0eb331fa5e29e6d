package spotoptimize

import (
	"cmp"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// packer buys nodes for groups of pods, one good buy after the other: it fills
// an imaginary node of each column, takes the one that costs least for what it
// holds, and goes on with the rest.
type packer struct {
	shelf   *shelf
	columns []*column // of the shelf
	groups  []*group
	left    []int // pods still without a place, by group
	ledger  *ledger
	spots   int     // spot nodes there will be, by an estimate; decides the share per pool
	slack   float64 // share of a node's room that is not filled
	largest float64 // vCPU of one new node at most
	demand  float64 // vCPU that the pods need, memory counted in proportion
	whole   float64 // vCPU of the cluster with so many more

	w     weights
	by    *ranking
	value []float64 // of one pod, by group
	rank  []int     // groups by value, dearest first
	worth float64   // of all that was left when the weights were last found
}

// filling is what a node of a column would take.
type filling struct {
	column int
	count  []int // by rank
	value  float64
	pods   int
}

// gibPerCPU is a middling node's memory for each vCPU.
const gibPerCPU = 4

func newPacker(shelf *shelf, groups []*group, ledger *ledger) *packer {
	p := &packer{shelf: shelf, columns: shelf.columns, groups: groups, ledger: ledger, left: make([]int, len(groups))}
	var need fit.Amounts
	for i, g := range groups {
		p.left[i] = len(g.pods)
		need = need.Plus(times(g.need, len(g.pods)))
	}
	p.demand = max(float64(need.CPU)/1000, float64(need.Memory)/gib/gibPerCPU)
	p.whole = ledger.at.total + p.demand
	return p
}

// useSpare puts pods into the room that nodes which stay have left.
func (p *packer) useSpare(w *world, c *fit.Cluster, nodes []int) {
	p.weigh()
	for _, n := range nodes {
		room := c.Spare(n)
		for _, g := range p.rank {
			take := p.most(g, room, 0)
			if take == 0 || p.groups[g].zone != "" && p.groups[g].zone != c.Node(n).Labels[fit.LabelZone] ||
				!fit.Admits(w.Book.Pod(p.groups[g].pods[0]), c.Node(n)) {
				continue
			}
			room = room.Minus(times(p.groups[g].need, take))
			p.left[g] -= take
		}
	}
}

// run buys until all pods have a place. It returns the groups that no column can
// take, and the limit that stopped it.
func (p *packer) run() (buy []*column, misfits []int, limit string) {
	for p.remaining() > 0 {
		p.weigh()
		best := p.best()
		if best.pods == 0 {
			return buy, p.unplaced(), p.stopped()
		}
		for range p.copies(best) {
			c := p.columns[best.column]
			p.ledger.add(c)
			buy = append(buy, c)
			for k, n := range best.count {
				p.left[p.rank[k]] -= n
			}
		}
	}
	return buy, nil, ""
}

func (p *packer) remaining() int {
	sum := 0
	for _, n := range p.left {
		sum += n
	}
	return sum
}

func (p *packer) unplaced() []int {
	var groups []int
	for g, n := range p.left {
		if n > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// stopped says whether a limit, not the pods, is why nothing can be bought.
func (p *packer) stopped() string {
	if p.ledger.l.maxNodes > 0 && p.ledger.new >= p.ledger.l.maxNodes {
		return "max_nodes"
	}
	return ""
}

// weigh finds weights for what is left, unless it has hardly changed.
func (p *packer) weigh() {
	var need fit.Amounts
	for g, n := range p.left {
		need = need.Plus(times(p.groups[g].need, n))
	}
	if p.by != nil && p.w.value(need) > 0.93*p.worth {
		return
	}
	dual := p.shelf.dual(need)
	p.w, p.by = weights{}, &ranking{} // nothing is for sale
	if dual >= 0 {
		p.w, p.by = p.shelf.duals[dual], p.shelf.ranking(dual)
	}
	p.worth = p.w.value(need)
	p.value, p.rank = make([]float64, len(p.groups)), make([]int, len(p.groups))
	for g := range p.groups {
		p.value[g], p.rank[g] = p.w.value(p.groups[g].need), g
	}
	slices.SortStableFunc(p.rank, func(a, b int) int { return cmp.Compare(p.value[b], p.value[a]) })
}

// best buy now; without pods if there is none.
func (p *packer) best() filling {
	best, score := filling{}, math.Inf(1)
	least := p.leastValue()
	deficit := p.deficit()
	for _, i := range p.by.order {
		if p.by.bound[i] >= score {
			break
		}
		c := p.columns[i]
		if !p.open(c) {
			continue
		}
		f := p.fill(i)
		if f.pods == 0 || f.value < least {
			continue
		}
		if s := p.cost(c, f, deficit) / f.value; s < score {
			best, score = f, s
		}
	}
	return best
}

// cost of a node so filled; vCPU on demand beyond the floor would be cheaper as spot.
func (p *packer) cost(c *column, f filling, deficit float64) float64 {
	cost := p.ledger.cost(c, float64(f.pods))
	if over := float64(c.Type.VCPU) - deficit; deficit > 0 && over > 0 {
		cost += c.Price * over / float64(c.Type.VCPU)
	}
	return cost
}

// open says whether limits allow one more node of the column.
func (p *packer) open(c *column) bool {
	if p.ledger.l.maxNodes > 0 && p.ledger.new >= p.ledger.l.maxNodes {
		return false
	}
	if float64(c.Type.VCPU) > p.largest || !p.ledger.zoneOpen(c) {
		return false
	}
	if !c.AsSpot {
		return true
	}
	// The share of a pool is of nodes, by contract; here also of vCPU, so that the
	// large nodes are not all in one.
	crowded := p.ledger.poolCPU[c.Pool()]
	if crowded > 0 && crowded+float64(c.Type.VCPU) > p.ledger.l.poolShare*p.demand {
		return false
	}
	return p.ledger.spotOpen(c, p.spots)
}

// leastValue a node must hold so that the nodes still allowed suffice.
func (p *packer) leastValue() float64 {
	if p.ledger.l.maxNodes == 0 {
		return 0
	}
	sum := 0.0
	for g, n := range p.left {
		sum += float64(n) * p.value[g]
	}
	return sum / float64(max(1, p.ledger.l.maxNodes-p.ledger.new)) * (1 - defaultGranularity)
}

// fill a node of the column, dearest pods first.
func (p *packer) fill(column int) filling {
	c := p.columns[column]
	room := c.Room
	room.CPU -= int64(p.slack * float64(room.CPU))
	room.Memory -= int64(p.slack * float64(room.Memory))
	f := filling{column: column, count: make([]int, len(p.rank))}
	for pass := range 2 {
		for k, g := range p.rank {
			group := p.groups[g]
			if group.admits != nil && !group.admits[column] {
				continue
			}
			take := p.most(g, room, f.count[k])
			if take == 0 {
				continue
			}
			room = room.Minus(times(group.need, take))
			f.count[k] += take
			f.pods += take
			f.value += float64(take) * p.value[g]
		}
		if f.pods > 0 || pass > 0 {
			break
		}
		room = c.Room // a pod that needs the slack gets it
	}
	return f
}

// most pods of a group that go into the room, when the node has some already.
func (p *packer) most(g int, room fit.Amounts, already int) int {
	n, group := p.left[g]-already, p.groups[g]
	if group.perNode > 0 {
		n = min(n, group.perNode-already)
	}
	n = min(n, int(room.Pods))
	if group.need.CPU > 0 {
		n = min(n, int(room.CPU/group.need.CPU))
	}
	if group.need.Memory > 0 {
		n = min(n, int(room.Memory/group.need.Memory))
	}
	if group.need.Disk > 0 {
		n = min(n, int(room.Disk/group.need.Disk))
	}
	for i, v := range group.need.Extended {
		if v > 0 {
			have := int64(0)
			if i < len(room.Extended) {
				have = room.Extended[i]
			}
			n = min(n, int(have/v))
		}
	}
	return max(0, n)
}

// copies of a node that can be bought at once without looking again.
func (p *packer) copies(f filling) int {
	n := math.MaxInt
	for k, count := range f.count {
		if count > 0 {
			n = min(n, p.left[p.rank[k]]/count)
		}
	}
	c := p.columns[f.column]
	if !c.AsSpot || p.ledger.l.maxSpot < 1 || p.ledger.l.maxNodes > 0 || p.ledger.l.zoneShare < 1 || p.ledger.l.floorShare > 0 {
		return 1
	}
	byCPU := int((p.ledger.l.poolShare*p.demand - p.ledger.poolCPU[c.Pool()]) / float64(c.Type.VCPU))
	n = min(n, byCPU, p.ledger.poolRoom(c.Pool(), p.spots), max(1, p.spots/16))
	return max(1, n)
}

func times(a fit.Amounts, n int) fit.Amounts {
	k := int64(n)
	product := fit.Amounts{CPU: a.CPU * k, Memory: a.Memory * k, Disk: a.Disk * k, Pods: a.Pods * k}
	for _, v := range a.Extended {
		product.Extended = append(product.Extended, v*k)
	}
	return product
}
