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

// draft is a plan with every pod in a place, or with those that have none.
type draft struct {
	change.Plan

	cluster   *fit.Cluster // afterwards, pods where the packer put them
	cost      float64      // USD per hour of all nodes
	judged    float64      // see problem.judged
	evictions int
	weight    float64
	stuck     []pack.Unplaced
	short     string // the requirement that is not met, empty if none

	rehearsals int // survived
}

// stage is pods that are placed together: those of spot nodes may be where those of
// on-demand nodes may not.
type stage struct {
	pods    []int
	columns []*shop.Column
	open    []int
}

// draw a draft that does without the nodes. Of each new node's room a share, the slack,
// is left free, and of others' up to change.Margin: the scheduler fills those more evenly. effort is the packer's.
func (q *problem) draw(gone []int, slack, effort float64) *draft {
	c := q.stage(min(slack, change.Margin)).Clone()
	d := &draft{Plan: change.Plan{Gone: slices.Clone(gone)}, cluster: c, weight: 0}
	leaving := make([]bool, len(q.w.Nodes))
	for _, n := range gone {
		leaving[n] = true
	}
	var homeless []int // pending pods whose room goes
	for _, pod := range q.w.Pending {
		if at, ok := q.waiting[pod]; ok && !leaving[at] {
			c.Place(pod, at)
		} else if ok {
			homeless = append(homeless, pod)
		}
	}
	for _, n := range gone {
		c.RemoveNode(n)
		d.evictions += len(q.w.Nodes[n].Moves)
		d.weight += q.weightOf(n)
	}
	for _, s := range q.stages(gone, homeless, leaving) {
		q.place(d, s, slack, effort)
	}
	if len(d.stuck) == 0 {
		q.spare(d)
	}
	q.price(d)
	return d
}

// stage is the cluster today with a share of each node's room held back.
func (q *problem) stage(slack float64) *fit.Cluster {
	if c := q.staged[slack]; c != nil {
		return c
	}
	c := fit.NewCluster(q.w.Book)
	for i, n := range q.w.Nodes {
		c.AddNode(tightened(n.Place, slack))
		for _, pod := range n.Pods {
			c.Place(pod, i)
		}
	}
	q.staged[slack] = c
	return c
}

// tightened is a node with a share of its room held back.
func tightened(n fit.Node, slack float64) fit.Node {
	n.Room.CPU -= int64(slack * float64(n.Room.CPU))
	n.Room.Memory -= int64(slack * float64(n.Room.Memory))
	return n
}

func (q *problem) price(d *draft) {
	d.cost = d.CostAfter(q.w)
	risk := 0.0
	for _, c := range d.Buy {
		risk += riskCost(c)
	}
	d.judged = q.judged(d.cost+risk, d.weight, len(d.Gone), len(d.Buy))
}

// riskCost per hour of the interruptions to be expected of a node.
func riskCost(c *shop.Column) float64 {
	return c.Probability * podsPerCPU * float64(c.Type.VCPU) * restartCost / figure.HoursPerMonth
}

func (q *problem) weightOf(node int) float64 {
	sum := 1.0
	for _, pod := range q.w.Nodes[node].Moves {
		sum += evictionWeight(q.w.Book.Pod(pod).GetPriority())
	}
	return sum
}

// stages: where capacity types were named, all pods go to any node. Else what runs on
// demand stays on demand, and the rest fills up what is left.
func (q *problem) stages(gone, homeless []int, leaving []bool) []stage {
	var steady, bold, all []int // pods of on-demand nodes, of spot nodes; open nodes
	var onDemand []int
	for i, n := range q.w.Nodes {
		if !leaving[i] && !n.Place.Closed {
			all = append(all, i)
			if !n.Spot {
				onDemand = append(onDemand, i)
			}
		}
	}
	for _, n := range gone {
		if q.w.Nodes[n].Spot {
			bold = append(bold, q.w.Nodes[n].Moves...)
		} else {
			steady = append(steady, q.w.Nodes[n].Moves...)
		}
	}
	bold = append(bold, homeless...)
	if len(q.l.capacity) > 0 || !slices.ContainsFunc(q.w.Nodes, func(n *scene.Node) bool { return n.Spot }) {
		return []stage{{pods: append(steady, bold...), columns: q.columns, open: all}}
	}
	return []stage{
		{pods: steady, columns: q.bought(false), open: onDemand},
		{pods: bold, columns: q.bought(true), open: all},
	}
}

// bought as spot, or on demand.
func (q *problem) bought(spot bool) []*shop.Column {
	return slices.DeleteFunc(slices.Clone(q.columns), func(c *shop.Column) bool { return c.AsSpot != spot })
}

const poolRounds = 4 // times the share of a spot pool is lowered until it holds

// place the pods of a stage, buying what they need beside the open nodes.
func (q *problem) place(d *draft, s stage, slack, effort float64) {
	if len(s.pods) == 0 {
		return
	}
	open := slices.Clone(s.open)
	for i := range d.Buy { // bought in an earlier stage
		open = append(open, len(q.w.Nodes)+i)
	}
	p := pack.Problem{
		Book: q.w.Book, Cluster: d.cluster, Pods: s.pods, Open: nonNil(open), Offers: offers(s.columns, slack), Effort: effort,
	}
	var plan pack.Plan
	for range poolRounds {
		if q.l.maxNodes > 0 {
			if p.MaxNodes = q.l.maxNodes - len(d.Buy); p.MaxNodes <= 0 {
				p.MaxNodes, p.Offers = 0, nil
			}
		}
		plan = pack.Solve(p)
		if !q.lowerShares(&p, s.columns, plan) {
			break
		}
	}
	for _, at := range plan.Placed {
		d.cluster.Place(at.Pod, at.Node)
	}
	for _, b := range plan.Buy {
		node := d.cluster.AddNode(s.columns[b.Offer].Node(change.NewName(len(d.Buy))))
		d.Buy = append(d.Buy, s.columns[b.Offer])
		for _, pod := range b.Pods {
			d.cluster.Place(pod, node)
		}
	}
	d.stuck = append(d.stuck, plan.Unplaced...)
}

func nonNil(nodes []int) []int {
	if nodes == nil {
		return []int{}
	}
	return nodes
}

func offers(columns []*shop.Column, slack float64) []pack.Offer {
	all := make([]pack.Offer, 0, len(columns))
	for _, c := range columns {
		n := c.Blank
		n.Room, n.Reserved, n.Ports = c.Full, c.Reserved, c.Ports
		all = append(all, pack.Offer{Node: tightened(n, slack), Price: c.Price + nodeCost + riskCost(c)})
	}
	return all
}

// lowerShares of spot pools that hold too much of the new spot nodes; false if all hold.
func (q *problem) lowerShares(p *pack.Problem, columns []*shop.Column, plan pack.Plan) bool {
	spots, pools := 0, map[int]int{}
	for _, b := range plan.Buy {
		if columns[b.Offer].AsSpot {
			spots++
			pools[b.Offer]++
		}
	}
	most := max(1, int(q.l.poolShare*float64(spots)+granularity))
	broken := false
	for offer := range p.Offers {
		if pools[offer] > most {
			broken = true
		}
	}
	if !broken {
		return false
	}
	for i, c := range columns {
		if c.AsSpot && i < len(p.Offers) {
			p.Offers[i].Max = most
		}
	}
	return true
}

// spare buys until the room that must stay free is there.
func (q *problem) spare(d *draft) {
	for range len(q.w.Nodes) + 100 {
		lacking := q.missing(d)
		if lacking.cpu <= granularity && lacking.memory <= granularity {
			return
		}
		best := q.cheapestFor(lacking)
		if best == nil || q.l.maxNodes > 0 && len(d.Buy) >= q.l.maxNodes {
			d.short = "spare_cpu"
			if lacking.cpu <= granularity {
				d.short = "spare_memory"
			}
			return
		}
		d.cluster.AddNode(best.Node(change.NewName(len(d.Buy))))
		d.Buy = append(d.Buy, best)
	}
}

// cheapestFor what is lacking: least price for the shares of it that a node gives.
func (q *problem) cheapestFor(lacking load) *shop.Column {
	best, least := (*shop.Column)(nil), 0.0
	for _, c := range q.columns {
		share, room := 0.0, loadOf(c.Room)
		if lacking.cpu > 0 {
			share += min(lacking.cpu, room.cpu) / lacking.cpu
		}
		if lacking.memory > 0 {
			share += min(lacking.memory, room.memory) / lacking.memory
		}
		if share > 0 && (best == nil || c.Price/share < least) {
			best, least = c, c.Price/share
		}
	}
	return best
}

// missing of the room that must stay free.
func (q *problem) missing(d *draft) load {
	if q.l.spare == (load{}) {
		return load{}
	}
	lacking := q.l.spare
	for i := range d.cluster.Nodes() {
		if i < len(q.w.Nodes) && (q.w.Nodes[i].Place.Closed || slices.Contains(d.Gone, i)) {
			continue
		}
		lacking = lacking.plus(loadOf(d.cluster.Spare(i)).positive(), -1)
	}
	return load{cpu: max(0, lacking.cpu), memory: max(0, lacking.memory)}
}
