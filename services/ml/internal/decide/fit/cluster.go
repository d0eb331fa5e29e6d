package fit

import (
	"maps"
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

// none is the value of a topology label that a node lacks.
const none = -1

// Cluster is nodes with pods on them. It is not safe for concurrent use, which
// includes Clone.
type Cluster struct {
	owner   *owner
	book    *Book
	nodes   []*place
	at      []int              // node by pod, none if nowhere
	count   []tally            // by tracker
	values  []map[string]int32 // by key: value of the label → its number
	domains [][][]int32        // by scope and key: nodes with each value
	open    []int              // nodes that take pods; nil: not known
	ignored []bool             // by key; nil: none

	topology *owner // of values and domains
}

// owner marks what one cluster may write to. Clones share everything until one of
// them writes to it, since most change next to nothing.
type owner struct{ _ byte }

// place is a node and what is on it.
type place struct {
	Node
	owner *owner
	free  Amounts
	pods  []int
	ports map[int32]int
	gone  bool
	value []int32 // by key, none if the node lacks the label
	in    []bool  // by scope
}

// tally is the state of one tracker, by the number of the key's value.
type tally struct {
	owner  *owner
	seen   []int32 // pods that the selector sees
	owners []int32 // pods that have the term
	total  int
}

// NewCluster without nodes.
func NewCluster(book *Book) *Cluster {
	c := &Cluster{
		owner: &owner{}, book: book, at: make([]int, len(book.pods)), count: make([]tally, len(book.trackers)),
		values: make([]map[string]int32, len(book.keys)), domains: make([][][]int32, len(book.scopes)),
	}
	c.topology = c.owner
	for i := range c.at {
		c.at[i] = none
	}
	for i := range c.values {
		c.values[i] = map[string]int32{}
	}
	for i := range c.domains {
		c.domains[i] = make([][]int32, len(book.keys))
	}
	return c
}

// AddNode and get its index.
func (c *Cluster) AddNode(n Node) int {
	p := &place{owner: c.owner, Node: n, free: n.Room.Minus(n.Reserved), value: make([]int32, len(c.book.keys)), in: make([]bool, len(c.book.scopes))}
	for _, port := range n.Ports {
		p.bind(port, 1)
	}
	c.ownTopology()
	for k, key := range c.book.keys {
		p.value[k] = none
		if text, ok := n.Labels[key]; ok {
			p.value[k] = c.number(k, text)
		}
	}
	for i, s := range c.book.scopes {
		p.in[i] = s.includes(p, c.ignored)
	}
	c.nodes = append(c.nodes, p)
	c.open = nil
	c.countNode(p, 1)
	return len(c.nodes) - 1
}

func (p *place) bind(port int32, n int) {
	if p.ports == nil {
		p.ports = map[int32]int{}
	}
	p.ports[port] += n
}

// number of a label's value.
func (c *Cluster) number(key int, text string) int32 {
	n, ok := c.values[key][text]
	if !ok {
		n = int32(len(c.values[key]))
		c.values[key][text] = n
	}
	return n
}

// includes says whether pods on the node are counted.
func (s *scope) includes(p *place, ignored []bool) bool {
	for _, key := range s.keys {
		if p.value[key] == none && (ignored == nil || !ignored[key]) {
			return false
		}
	}
	return s.class == nil || admitted(s.class.pod, p.Name, p.Labels)
}

// countNode as a domain of the scopes it is in.
func (c *Cluster) countNode(p *place, sign int32) {
	for i := range c.book.scopes {
		for _, k := range c.book.scopes[i].keys {
			if v := p.value[k]; p.in[i] && v != none {
				c.domains[i][k] = add(c.domains[i][k], v, sign)
			}
		}
	}
}

// add to the counter of a value; counters grow as values come.
func add(counters []int32, value, n int32) []int32 {
	for len(counters) <= int(value) {
		counters = append(counters, 0)
	}
	counters[value] += n
	return counters
}

func at(counters []int32, value int32) int {
	if int(value) >= len(counters) {
		return 0
	}
	return int(counters[value])
}

// Nodes there were ever added.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Node by index.
func (c *Cluster) Node(node int) *Node { return &c.nodes[node].Node }

// At says on which node a pod is, -1 for nowhere.
func (c *Cluster) At(pod int) int { return c.at[pod] }

// Spare room of a node.
func (c *Cluster) Spare(node int) Amounts {
	return c.nodes[node].free
}

// Close a node to pods, as cordoning does.
func (c *Cluster) Close(node int) { c.own(node).Closed, c.open = true, nil }

// candidates for a pod of the class: all nodes that are not closed to it.
func (c *Cluster) candidates(kind *class) []int {
	if c.open == nil || kind.cordoned {
		var open []int
		for i, p := range c.nodes {
			if !p.gone && (!p.Closed || kind.cordoned) {
				open = append(open, i)
			}
		}
		if kind.cordoned {
			return open
		}
		c.open = open
	}
	return c.open
}

// Ignore the rules of pods about each other that are by this topology key, from now
// on and for nodes yet to be added: to ask about zones before there are nodes.
func (c *Cluster) Ignore(topologyKey string) {
	if c.ignored == nil {
		c.ignored = make([]bool, len(c.book.keys))
	}
	for k, key := range c.book.keys {
		c.ignored[k] = c.ignored[k] || key == topologyKey
	}
}

// heeds says whether the rules of a tracker count.
func (c *Cluster) heeds(tracker int) bool {
	return c.ignored == nil || !c.ignored[c.book.trackers[tracker].key]
}

// Place a pod without asking whether it fits.
func (c *Cluster) Place(pod, node int) {
	c.at[pod] = node
	p := c.own(node)
	p.pods = append(p.pods, pod)
	c.account(pod, node, 1)
}

// Remove a pod from where it is.
func (c *Cluster) Remove(pod int) {
	node := c.at[pod]
	if node == none {
		return
	}
	c.account(pod, node, -1)
	c.at[pod] = none
	p := c.own(node)
	i := slices.Index(p.pods, pod)
	p.pods[i] = p.pods[len(p.pods)-1]
	p.pods = p.pods[:len(p.pods)-1]
}

// RemoveNode with all that is on it.
func (c *Cluster) RemoveNode(node int) {
	p := c.own(node)
	for len(p.pods) > 0 {
		c.Remove(p.pods[0])
	}
	c.ownTopology()
	p.gone, c.open = true, nil
	c.countNode(p, -1)
}

// account for a pod that comes (sign 1) or goes (sign -1).
func (c *Cluster) account(pod, node, sign int) {
	p, kind := c.own(node), c.book.classes[c.book.class[pod]]
	if sign > 0 {
		p.free = p.free.Minus(kind.requests)
	} else {
		p.free = p.free.Plus(kind.requests)
	}
	for _, port := range kind.pod.GetHostPorts() {
		p.bind(port, sign)
	}
	for _, id := range kind.countedBy {
		t := c.book.trackers[id]
		if v := p.value[t.key]; v != none && p.in[t.scope] {
			count := c.ownTally(id)
			count.seen = add(count.seen, v, int32(sign))
			count.total += sign
		}
	}
	for _, id := range kind.anti {
		if v := p.value[c.book.trackers[id].key]; v != none {
			count := c.ownTally(id)
			count.owners = add(count.owners, v, int32(sign))
		}
	}
}

// Clone the cluster: what happens to one does not happen to the other.
func (c *Cluster) Clone() *Cluster {
	twin := *c
	twin.at, twin.nodes, twin.count = slices.Clone(c.at), slices.Clone(c.nodes), slices.Clone(c.count)
	twin.ignored = slices.Clone(c.ignored)
	c.owner, twin.owner = &owner{}, &owner{} // neither owns any longer what both have
	return &twin
}

// own a node before writing to it.
func (c *Cluster) own(node int) *place {
	p := c.nodes[node]
	if p.owner != c.owner {
		twin := *p // labels, value and in are never written to
		twin.owner, twin.pods, twin.ports = c.owner, slices.Clone(p.pods), maps.Clone(p.ports)
		p = &twin
		c.nodes[node] = p
	}
	return p
}

func (c *Cluster) ownTally(tracker int) *tally {
	t := &c.count[tracker]
	if t.owner != c.owner {
		t.owner, t.seen, t.owners = c.owner, slices.Clone(t.seen), slices.Clone(t.owners)
	}
	return t
}

func (c *Cluster) ownTopology() {
	if c.topology == c.owner {
		return
	}
	c.topology = c.owner
	c.values, c.domains = slices.Clone(c.values), slices.Clone(c.domains)
	for i, v := range c.values {
		c.values[i] = maps.Clone(v)
	}
	for i, keys := range c.domains {
		c.domains[i] = slices.Clone(keys)
		for k, counters := range keys {
			c.domains[i][k] = slices.Clone(counters)
		}
	}
}
