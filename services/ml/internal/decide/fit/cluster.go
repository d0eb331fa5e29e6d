package fit

import (
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Node is a place for pods.
type Node struct {
	// Name, unique in a Cluster.
	Name string
	// Labels and Taints as Kubernetes has them.
	Labels map[string]string
	Taints []*fleetv1.Taint
	// Room for pods in an empty node.
	Room Amounts
	// Reserved by pods that no one places, such as those of DaemonSets on a node to come.
	Reserved Amounts
	// Ports of the host that those pods bind.
	Ports []int32
	// Closed to pods: cordoned or not ready.
	Closed bool
}

// unschedulable is the taint that a cordoned node carries; pods may tolerate it.
var unschedulable = &fleetv1.Taint{Key: "node.kubernetes.io/unschedulable", Effect: "NoSchedule"}

// Cluster is nodes with pods on them. It is not safe for concurrent use.
type Cluster struct {
	book  *Book
	nodes []*place
	at    []int // node by pod, -1 if nowhere
	count []tally
}

// place is a node and what is on it.
type place struct {
	Node
	used  Amounts
	ports map[int32]int
	gone  bool
	// eligible by tracker: whether spread constraints count here.
	eligible []bool
}

// tally is the state of one tracker.
type tally struct {
	seen    map[string]int // pods that the selector sees, by value of the key
	owners  map[string]int // pods that have the term, by value of the key
	domains map[string]int // eligible nodes, by value of the key
	total   int
}

// NewCluster without nodes.
func NewCluster(book *Book) *Cluster {
	c := &Cluster{book: book, at: make([]int, len(book.pods)), count: make([]tally, len(book.trackers))}
	for i := range c.at {
		c.at[i] = -1
	}
	for i := range c.count {
		c.count[i] = tally{seen: map[string]int{}, owners: map[string]int{}, domains: map[string]int{}}
	}
	return c
}

// AddNode and get its index.
func (c *Cluster) AddNode(n Node) int {
	p := &place{Node: n, used: n.Reserved, ports: map[int32]int{}, eligible: make([]bool, len(c.book.trackers))}
	for _, port := range n.Ports {
		p.ports[port]++
	}
	for i, t := range c.book.trackers {
		p.eligible[i] = t.counts(&n)
		if value, ok := n.Labels[t.key]; ok && p.eligible[i] {
			c.count[i].domains[value]++
		}
	}
	c.nodes = append(c.nodes, p)
	return len(c.nodes) - 1
}

// counts says whether pods on the node are counted.
func (t *tracker) counts(n *Node) bool {
	if t.nodes == nil {
		return true
	}
	for _, key := range t.keys {
		if _, ok := n.Labels[key]; !ok {
			return false
		}
	}
	return admitted(t.nodes.pod, n.Name, n.Labels)
}

// Nodes there were ever added.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Node by index.
func (c *Cluster) Node(node int) *Node { return &c.nodes[node].Node }

// At says on which node a pod is, -1 for nowhere.
func (c *Cluster) At(pod int) int { return c.at[pod] }

// Spare room of a node.
func (c *Cluster) Spare(node int) Amounts {
	return c.nodes[node].Room.Minus(c.nodes[node].used)
}

// Close a node to pods, as cordoning does.
func (c *Cluster) Close(node int) { c.nodes[node].Closed = true }

// Place a pod without asking whether it fits.
func (c *Cluster) Place(pod, node int) {
	c.at[pod] = node
	c.account(pod, node, 1)
}

// Remove a pod from where it is.
func (c *Cluster) Remove(pod int) {
	if node := c.at[pod]; node >= 0 {
		c.account(pod, node, -1)
		c.at[pod] = -1
	}
}

// RemoveNode with all that is on it.
func (c *Cluster) RemoveNode(node int) {
	for pod, at := range c.at {
		if at == node {
			c.Remove(pod)
		}
	}
	p := c.nodes[node]
	p.gone = true
	for i, t := range c.book.trackers {
		if value, ok := p.Labels[t.key]; ok && p.eligible[i] {
			if c.count[i].domains[value]--; c.count[i].domains[value] == 0 {
				delete(c.count[i].domains, value)
			}
		}
	}
}

// account for a pod that comes (sign 1) or goes (sign -1).
func (c *Cluster) account(pod, node, sign int) {
	p, kind := c.nodes[node], c.book.classes[c.book.class[pod]]
	if sign > 0 {
		p.used = p.used.Plus(kind.requests)
	} else {
		p.used = p.used.Minus(kind.requests)
	}
	for _, port := range kind.pod.GetHostPorts() {
		p.ports[port] += sign
	}
	for _, id := range kind.countedBy {
		if value, ok := p.Labels[c.book.trackers[id].key]; ok && p.eligible[id] {
			c.count[id].seen[value] += sign
			c.count[id].total += sign
		}
	}
	for _, id := range kind.anti {
		if value, ok := p.Labels[c.book.trackers[id].key]; ok {
			c.count[id].owners[value] += sign
		}
	}
}

// Fits says whether the scheduler could put the pod on the node now.
func (c *Cluster) Fits(pod, node int) bool {
	kind := c.book.classes[c.book.class[pod]]
	return c.fits(kind, c.nodes[node], c.minima(kind))
}

// fits in the scheduler's terms, cheapest test first. minima are those of the
// class's spread constraints.
func (c *Cluster) fits(kind *class, p *place, minima []int) bool {
	return !p.gone && kind.requests.Within(p.Room.Minus(p.used)) && Admits(kind.pod, &p.Node) &&
		!slices.ContainsFunc(kind.pod.GetHostPorts(), func(port int32) bool { return p.ports[port] > 0 }) &&
		c.spreads(kind, p, minima) && c.sociable(kind, p)
}

// Admits says whether the node takes the pod at all, whatever else is on it.
func Admits(pod *fleetv1.Pod, n *Node) bool {
	if n.Closed && !tolerated([]*fleetv1.Taint{unschedulable}, pod.GetTolerations()) {
		return false
	}
	return tolerated(n.Taints, pod.GetTolerations()) && admitted(pod, n.Name, n.Labels) && inZone(pod, n.Labels)
}

// minima of the domains' counts, one for each spread constraint of the class.
func (c *Cluster) minima(kind *class) []int {
	if len(kind.spread) == 0 {
		return nil
	}
	least := make([]int, len(kind.spread))
	for i, s := range kind.spread {
		t := &c.count[s.tracker]
		if len(t.domains) < s.minDomains || len(t.domains) == 0 {
			continue
		}
		first := true
		for value := range t.domains {
			if n := t.seen[value]; first || n < least[i] {
				least[i], first = n, false
			}
		}
	}
	return least
}

// spreads says whether no domain would get too far ahead of the others.
func (c *Cluster) spreads(kind *class, p *place, minima []int) bool {
	for i, s := range kind.spread {
		value, ok := p.Labels[c.book.trackers[s.tracker].key]
		if !ok || c.count[s.tracker].seen[value]+s.self-minima[i] > s.maxSkew {
			return false
		}
	}
	return true
}

// sociable says whether affinity and anti-affinity, the pod's own and that of
// the pods there, allow it.
func (c *Cluster) sociable(kind *class, p *place) bool {
	for _, id := range kind.forbiddenBy {
		if value, ok := p.Labels[c.book.trackers[id].key]; ok && c.count[id].owners[value] > 0 {
			return false
		}
	}
	for _, id := range kind.anti {
		if value, ok := p.Labels[c.book.trackers[id].key]; ok && c.count[id].seen[value] > 0 {
			return false
		}
	}
	alone := kind.selfAffine
	for _, id := range kind.affinity {
		alone = alone && c.count[id].total == 0
	}
	for _, id := range kind.affinity {
		value, ok := p.Labels[c.book.trackers[id].key]
		if !ok || !alone && c.count[id].seen[value] == 0 {
			return false
		}
	}
	return true
}
