package pack

import (
	"fmt"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// site is a plan in the making: nodes bought, and where pods are meant to go.
type site struct {
	m       *model
	by      *prices
	open    []int
	pins    map[int]map[string]string
	rank    map[int]int // pods that were pinned, in the order that keeps the rules
	placed  []Placed    // meant for nodes of the Cluster
	bought  []*Bought
	count   []int // by offer
	waiting []int
}

func newSite(m *model, by *prices) *site {
	s := &site{m: m, by: by, count: make([]int, len(m.offers)), rank: map[int]int{}, waiting: slices.Clone(m.p.Pods)}
	s.open = m.p.Open
	if s.open == nil && m.p.Cluster != nil {
		for n := range m.p.Cluster.Nodes() {
			if !m.p.Cluster.Node(n).Closed {
				s.open = append(s.open, n)
			}
		}
	}
	pins, order := m.pin(m.p.Pods, s.open, by)
	s.pins = pins
	for i, pod := range order {
		s.rank[pod] = i
	}
	return s
}

// useOpen puts pods into the room that nodes which stay have left, dearest first.
func (s *site) useOpen() {
	if len(s.open) == 0 {
		return
	}
	world := s.m.p.Cluster.Clone()
	groups := s.m.groups(s.waiting, s.pins, len(s.open))
	weigh(groups, s.by)
	used := make([]int, len(groups))
	put := map[int]bool{}
	for _, n := range s.open {
		labels := world.Node(n).Labels
		for i, g := range groups {
			for used[i] < len(g.pods) && g.need.Within(world.Spare(n)) && labelled(labels, g.pin) && world.Fits(g.pods[used[i]], n) {
				pod := g.pods[used[i]]
				world.Place(pod, n)
				s.placed = append(s.placed, Placed{Pod: pod, Node: n})
				put[pod] = true
				used[i]++
			}
		}
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(pod int) bool { return put[pod] })
}

// buy nodes for the pods as well as it can. It says whether any were bought.
func (s *site) buy(pods []int) bool {
	nodes := -1
	if s.m.p.MaxNodes > 0 {
		if nodes = s.m.p.MaxNodes - len(s.bought); nodes <= 0 {
			return false
		}
	}
	groups := s.m.groups(pods, s.pins, s.estimate(pods))
	b := newBuyer(s.m, groups, s.m.front(masksOf(groups), s.m.byPrice).offers, slices.Clone(s.count), nodes)
	bins := s.improve(b, b.run())
	s.count = b.count
	used := make([]int, len(groups))
	for _, bin := range bins {
		node := &Bought{Offer: bin.offer}
		for _, l := range bin.loads {
			from := used[l.group]
			node.Pods = append(node.Pods, groups[l.group].pods[from:from+l.n]...)
			used[l.group] += l.n
		}
		s.bought = append(s.bought, node)
	}
	return len(bins) > 0
}

// improve what was bought.
func (s *site) improve(b *buyer, bins []*bin) []*bin {
	effort := s.m.p.Effort
	if effort < 0 || len(bins) == 0 {
		return bins
	}
	if effort == 0 {
		effort = 1
	}
	missing := slices.Clone(b.left) // what could not be bought for stays out of it
	b.restore(bins)
	b.value(b.price(exact))
	clear(b.left)
	b.order = b.order[:0]
	bins = newSearch(b, bins).run(int(effort*(stepsEach+stepsPerNode*float64(len(bins)))), int(effort*stepsMost))
	b.left = missing
	return bins
}

// usualCores of one node, for a guess at how many there will be.
const usualCores = 8

func (s *site) estimate(pods []int) int {
	cores, memory := 0.0, 0.0
	for _, pod := range pods {
		need := s.m.p.Book.Requests(pod)
		cores += float64(need.CPU) / millicores
		memory += float64(need.Memory) / gib
	}
	return len(s.open) + 1 + int(max(cores, memory/4)/usualCores)
}

// replay is what came of putting the pods where they are meant to go, with all new
// nodes there from the start.
type replay struct {
	world *fit.Cluster
	nodes []int // of the world, by node bought
	order []int // pods as placed
	stuck []int
}

func (r *replay) place(pod, node int) {
	r.world.Place(pod, node)
	r.order = append(r.order, pod)
}

const (
	buyRounds = 6
	tryRounds = 8
)

// settle the plan: what the rules refuse goes elsewhere or gets nodes of its own,
// nodes that are not needed are not bought, until all that is left in the plan holds.
func (s *site) settle() Plan {
	for round := 0; ; round++ {
		r := s.replay()
		s.adopt(r)
		if s.dropEmpty() {
			continue
		}
		if len(r.stuck) == 0 || round >= buyRounds || !s.buy(r.stuck) {
			return s.plan(r)
		}
	}
}

// replay the plan. Pods that find no place where they should go to wherever they fit.
func (s *site) replay() *replay {
	r := &replay{world: fit.NewCluster(s.m.p.Book)}
	if s.m.p.Cluster != nil {
		r.world = s.m.p.Cluster.Clone()
	}
	meant := make([]int, s.m.p.Book.Pods()) // node of the world, counted from 1
	for i, node := range s.bought {
		at := r.world.AddNode(named(s.m.p.Offers[node.Offer].Node, fmt.Sprintf("new-%d", i)))
		r.nodes = append(r.nodes, at)
		for _, pod := range node.Pods {
			meant[pod] = at + 1
		}
	}
	for _, p := range s.placed {
		meant[p.Pod] = p.Node + 1
	}
	waiting := s.inOrder()
	for range tryRounds {
		var stuck []int
		for _, pod := range waiting {
			if at := meant[pod] - 1; at >= 0 && r.world.Fits(pod, at) {
				r.place(pod, at)
				continue
			}
			stuck = append(stuck, pod)
		}
		done := len(stuck) == 0 || len(stuck) == len(waiting)
		waiting = stuck
		if done {
			break
		}
	}
	r.stuck = s.elsewhere(r, waiting)
	return r
}

// inOrder is the pods in an order in which rules that span nodes can be kept.
func (s *site) inOrder() []int {
	pods := slices.Clone(s.m.p.Pods)
	last := len(s.rank)
	rank := func(pod int) int {
		if i, ok := s.rank[pod]; ok {
			return i
		}
		return last
	}
	slices.SortStableFunc(pods, func(a, b int) int { return rank(a) - rank(b) })
	return pods
}

// elsewhere puts pods wherever they fit.
func (s *site) elsewhere(r *replay, waiting []int) []int {
	nodes := slices.Concat(r.nodes, s.open)
	for {
		var stuck []int
		refused := map[int]bool{}
		for _, pod := range waiting {
			at := -1
			if class := s.m.p.Book.Class(pod); !refused[class] {
				at = slices.IndexFunc(nodes, func(n int) bool { return r.world.Fits(pod, n) })
				refused[class] = at < 0
			}
			if at < 0 {
				stuck = append(stuck, pod)
				continue
			}
			r.place(pod, nodes[at])
		}
		if len(stuck) == 0 || len(stuck) == len(waiting) {
			return stuck
		}
		waiting = stuck
	}
}

// adopt what the replay did as what is meant.
func (s *site) adopt(r *replay) {
	index := map[int]int{}
	for i, at := range r.nodes {
		index[at] = i
		s.bought[i].Pods = s.bought[i].Pods[:0]
	}
	s.placed = s.placed[:0]
	for _, pod := range s.m.p.Pods {
		at := r.world.At(pod)
		if i, ok := index[at]; ok {
			s.bought[i].Pods = append(s.bought[i].Pods, pod)
		} else if at >= 0 {
			s.placed = append(s.placed, Placed{Pod: pod, Node: at})
		}
	}
}

// dropEmpty nodes; it says whether there were any.
func (s *site) dropEmpty() bool {
	before := len(s.bought)
	s.bought = slices.DeleteFunc(s.bought, func(b *Bought) bool {
		if len(b.Pods) == 0 {
			s.count[b.Offer]--
		}
		return len(b.Pods) == 0
	})
	return len(s.bought) < before
}

func (s *site) plan(r *replay) Plan {
	plan := Plan{Placed: s.placed, Order: r.order}
	for _, node := range s.bought {
		plan.Buy = append(plan.Buy, *node)
		plan.Cost += s.m.offers[node.Offer].Price
	}
	for _, pod := range r.stuck {
		plan.Unplaced = append(plan.Unplaced, Unplaced{Pod: pod, Reason: s.reason(r, pod)})
	}
	return plan
}

// reason why the pod has no place.
func (s *site) reason(r *replay, pod int) Reason {
	mask, need := s.m.maskOf(pod), s.m.p.Book.Requests(pod)
	switch {
	case mask.none:
		return NoOfferAdmits
	case !s.m.holds(mask, need):
		return TooLarge
	case s.m.p.MaxNodes > 0 && len(s.bought) >= s.m.p.MaxNodes:
		return MaxNodes
	}
	why := map[fit.Refusal]Reason{
		fit.PortTaken: NodePorts, fit.SpreadBroken: Spread, fit.NotSociable: AntiAffinity, fit.NotNear: Affinity,
	}
	for i := range s.m.offers {
		o := &s.m.offers[i]
		if !mask.has(o.brand) || !need.Within(o.room) || o.Max > 0 && s.count[i] >= o.Max {
			continue
		}
		at := r.world.AddNode(named(o.Node, "new"))
		refusal := r.world.Refusal(pod, at)
		r.world.RemoveNode(at)
		if reason, ok := why[refusal]; ok {
			return reason
		}
		return SearchEnded
	}
	return MaxNodes
}
