package feasible

import (
	"fmt"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Board is nodes with pods on them, counted so that a question about one pod and one
// node does not look at the others. It is not safe for concurrent use.
type Board struct {
	nodes  map[string]*place
	order  []string
	counts map[string]*count
	all    []*count
	shapes map[string]*shape
	shape  map[*fleetv1.Pod]*shape
	on     map[*fleetv1.Pod]string
}

// place is a node and what is left of it.
type place struct {
	node  *fleetv1.NodeMetric
	room  room
	ports map[int32]int
}

// NewBoard of nodes without pods.
func NewBoard(nodes []*fleetv1.NodeMetric) *Board {
	b := &Board{
		nodes: map[string]*place{}, counts: map[string]*count{}, shapes: map[string]*shape{},
		shape: map[*fleetv1.Pod]*shape{}, on: map[*fleetv1.Pod]string{},
	}
	for _, n := range nodes {
		b.addNode(n)
	}
	return b
}

func (b *Board) addNode(n *fleetv1.NodeMetric) {
	b.nodes[n.GetNodeName()] = &place{node: n, room: roomOf(n), ports: map[int32]int{}}
	b.order = append(b.order, n.GetNodeName())
}

// Seat pods on the nodes that they name, those of unknown nodes nowhere, and get ready
// for questions about the others. It is called once, after all nodes are known.
func (b *Board) Seat(placed, coming []*fleetv1.Pod) { b.pods(placed, coming) }

func (b *Board) pods(placed, coming []*fleetv1.Pod) {
	for _, pod := range slices.Concat(placed, coming) {
		b.shape[pod] = b.shapeOf(pod)
	}
	for _, s := range b.shapes {
		for _, c := range b.all {
			if c.sees(s.pod) {
				s.seenBy = append(s.seenBy, c)
			}
		}
	}
	for _, name := range b.order {
		for _, c := range b.all {
			c.addNode(b.nodes[name].node)
		}
	}
	for _, pod := range placed {
		if b.nodes[pod.GetNodeName()] != nil {
			b.Place(pod, pod.GetNodeName())
		}
	}
}

// Place a pod without asking.
func (b *Board) Place(pod *fleetv1.Pod, node string) {
	b.on[pod] = node
	b.account(pod, b.nodes[node], 1)
}

// Remove a pod from where it is.
func (b *Board) Remove(pod *fleetv1.Pod) {
	if at, ok := b.on[pod]; ok {
		b.account(pod, b.nodes[at], -1)
		delete(b.on, pod)
	}
}

func (b *Board) account(pod *fleetv1.Pod, at *place, sign int) {
	at.room.take(pod, int64(sign))
	for _, port := range pod.GetHostPorts() {
		at.ports[port] += sign
	}
	s := b.shape[pod]
	for _, c := range s.seenBy {
		c.add(at.node, sign)
	}
	for _, c := range s.apart {
		c.own(at.node, sign)
	}
}

// Refusal is the rule by which the scheduler would not put the pod on the node now;
// empty if it would.
func (b *Board) Refusal(pod *fleetv1.Pod, node string) (rule, detail string) {
	at := b.nodes[node]
	if at == nil {
		return RuleUnknownNode, "there is no such node"
	}
	if short := at.room.short(pod); short != "" {
		return RuleResources, "too little " + short
	}
	if key := tolerated(pod, at.node); key != "" {
		return RuleTaint, key
	}
	if !admitted(pod, at.node) {
		return RuleSelector, "its node selector or affinity excludes the node"
	}
	for _, port := range pod.GetHostPorts() {
		if at.ports[port] > 0 {
			return RulePort, fmt.Sprint(port)
		}
	}
	if zones := pod.GetVolumeZones(); len(zones) > 0 && !slices.Contains(zones, at.node.GetLabels()[zoneLabel]) {
		return RuleVolume, fmt.Sprintf("its volumes are in %v", zones)
	}
	return b.shape[pod].refusal(at.node)
}

// anywhere puts the pod on the first node that takes it and says which, empty if none.
func (b *Board) anywhere(pod *fleetv1.Pod) string {
	for _, name := range b.order {
		if rule, _ := b.Refusal(pod, name); rule == "" {
			b.Place(pod, name)
			return name
		}
	}
	return ""
}
