package pack

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// domains decides, for pods that have to do with others by zone or another label
// that many nodes share, which values of it they keep to. It plays the scheduler on
// nodes without end, one for each combination of labels, and leaves out the rules
// within a node. Each combination may hold what its offers and open nodes could.
type domains struct {
	m     *model
	world *fit.Cluster
	cells []cell
	order []int // pods in the order in which they were placed
}

// cell is nodes that the rules cannot tell apart.
type cell struct {
	node int     // of the world
	dear float64 // price for a unit of worth at best; 0 for nodes that are there
	pods map[int]int
}

const endless = int64(1) << 50

// pin the pods that need it. Those without a place are left for later.
func (m *model) pin(pods []int, open []int, by *prices) (pins map[int]map[string]string, order []int) {
	pins = map[int]map[string]string{}
	keys := map[int][]string{} // by class
	var social []int
	for _, pod := range pods {
		class := m.p.Book.Class(pod)
		if _, ok := keys[class]; !ok {
			keys[class] = m.sharedKeys(pod)
		}
		if len(keys[class]) > 0 {
			social = append(social, pod)
		}
	}
	if len(social) == 0 {
		return pins, nil
	}
	d := m.domains(open, by)
	waiting := m.friendless(social)
	for len(waiting) > 0 {
		var stuck []int
		refused := map[int]bool{}
		for _, pod := range waiting {
			class := m.p.Book.Class(pod)
			if refused[class] {
				stuck = append(stuck, pod)
				continue
			}
			at := d.place(pod)
			if at < 0 {
				stuck = append(stuck, pod)
				refused[class] = true
				continue
			}
			labels := d.world.Node(at).Labels
			pins[pod] = map[string]string{}
			for _, key := range keys[class] {
				if value, ok := labels[key]; ok {
					pins[pod][key] = value
				}
			}
		}
		if len(stuck) == len(waiting) {
			break
		}
		waiting = stuck
	}
	return pins, d.order
}

// sharedKeys are the topology keys but the hostname by which a pod has to do with others.
func (m *model) sharedKeys(pod int) []string {
	r := m.p.Book.Rules(pod)
	var keys []string
	note := func(tracker int) {
		if key := m.p.Book.TopologyKey(tracker); key != fit.LabelHostname && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, s := range r.Spread {
		note(s.Tracker)
	}
	for _, list := range [][]int{r.Affinity, r.Anti, r.CountedBy, r.ForbiddenBy} {
		for _, t := range list {
			note(t)
		}
	}
	return keys
}

// friendless pods first: the others need them to be somewhere.
func (m *model) friendless(pods []int) []int {
	rank := func(pod int) int {
		r := m.p.Book.Rules(pod)
		switch {
		case len(r.Affinity) == 0:
			return 0
		case r.SelfAffine:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(pods)
	slices.SortStableFunc(sorted, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(m.p.Book.Class(a), m.p.Book.Class(b)))
	})
	return sorted
}

// domains with a cell for each brand of offers and each open node.
func (m *model) domains(open []int, by *prices) *domains {
	d := &domains{m: m}
	if m.p.Cluster != nil {
		d.world = m.p.Cluster.Clone()
	} else {
		d.world = fit.NewCluster(m.p.Book)
	}
	d.world.Ignore(fit.LabelHostname)
	d.addOffers(by)
	d.addOpen(open)
	return d
}

func (d *domains) addOffers(by *prices) {
	ofBrand := make([]int, len(d.m.brands))
	tops := make([][]float64, len(d.m.brands))
	for brand, node := range d.m.brands {
		node.Labels = maps.Clone(node.Labels)
		delete(node.Labels, fit.LabelHostname)
		node.Room, node.Reserved, node.Ports = d.endless(), fit.Amounts{}, nil
		ofBrand[brand] = len(d.cells)
		d.cells = append(d.cells, cell{node: d.world.AddNode(node), dear: math.Inf(1), pods: map[int]int{}})
		tops[brand] = make([]float64, d.m.dims)
		for _, k := range d.m.masks {
			if k.has(brand) {
				for r, v := range by.of(k) {
					tops[brand][r] = max(tops[brand][r], v)
				}
			}
		}
	}
	for i := range d.m.offers {
		o := &d.m.offers[i]
		c := &d.cells[ofBrand[o.brand]]
		c.dear = min(c.dear, o.price/max(valueLeast, dot(tops[o.brand], o.space)))
	}
}

func (d *domains) endless() fit.Amounts {
	a := fit.Amounts{CPU: endless, Memory: endless, Disk: endless, Pods: endless}
	for range d.m.dims - fixedDims {
		a.Extended = append(a.Extended, endless)
	}
	return a
}

// addOpen makes a cell of open nodes that the rules cannot tell apart, with the room
// that they have together.
func (d *domains) addOpen(open []int) {
	index := map[string]int{}
	var nodes []fit.Node
	for _, n := range open {
		node := *d.m.p.Cluster.Node(n)
		name := string(appendBrand(nil, &node, d.m.keys))
		at, ok := index[name]
		if !ok {
			at = len(nodes)
			index[name] = at
			labels := maps.Clone(node.Labels)
			delete(labels, fit.LabelHostname)
			nodes = append(nodes, fit.Node{Name: node.Name, Labels: labels, Taints: node.Taints, Closed: node.Closed})
		}
		nodes[at].Room = nodes[at].Room.Plus(d.m.p.Cluster.Spare(n))
	}
	for _, node := range nodes {
		d.cells = append(d.cells, cell{node: d.world.AddNode(node), pods: map[int]int{}})
	}
}

// place a pod into the cheapest cell that takes it, among equals where fewest of its
// kind are. It returns the node of the world, -1 if there is none.
func (d *domains) place(pod int) int {
	class := d.m.p.Book.Class(pod)
	best := -1
	for i := range d.cells {
		c := &d.cells[i]
		if !d.world.Fits(pod, c.node) {
			continue
		}
		if best < 0 || d.before(c, &d.cells[best], class) {
			best = i
		}
	}
	if best < 0 {
		return -1
	}
	c := &d.cells[best]
	c.pods[class]++
	d.world.Place(pod, c.node)
	d.order = append(d.order, pod)
	return c.node
}

// equalDear is how near prices are that are not worth crowding one domain for.
const equalDear = 1.01

func (*domains) before(a, b *cell, class int) bool {
	switch {
	case a.dear*equalDear < b.dear:
		return true
	case b.dear*equalDear < a.dear:
		return false
	}
	return a.pods[class] < b.pods[class]
}
