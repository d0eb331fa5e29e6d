package fit

import "slices"

// Refusal is the first filter that keeps a pod off a node.
type Refusal int

// Refusals, in the order in which Fits asks.
const (
	Accepted     Refusal = iota
	NodeGone             // removed, or closed to the pod
	NoRoom               // requests exceed what is free
	NotAdmitted          // taints, selectors, node affinity, volumes' zones
	PortTaken            // a host port
	SpreadBroken         // hard topology spread
	NotSociable          // anti-affinity, the pod's own or that of pods there
	NotNear              // affinity
)

// Refusal says why the scheduler could not put the pod on the node now.
func (c *Cluster) Refusal(pod, node int) Refusal {
	kind, p := c.book.classes[c.book.class[pod]], c.nodes[node]
	switch {
	case p.gone || p.Closed && !kind.cordoned:
		return NodeGone
	case !kind.requests.Within(p.free):
		return NoRoom
	case !Admits(kind.pod, &p.Node):
		return NotAdmitted
	case slices.ContainsFunc(kind.pod.GetHostPorts(), func(port int32) bool { return p.ports[port] > 0 }):
		return PortTaken
	case !c.spreads(kind, p, c.minima(kind)):
		return SpreadBroken
	case c.sociable(kind, p):
		return Accepted
	case len(kind.affinity) > 0 && !c.near(kind, p):
		return NotNear
	}
	return NotSociable
}
