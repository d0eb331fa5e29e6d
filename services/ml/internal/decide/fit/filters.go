package fit

import (
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Fits says whether the scheduler could put the pod on the node now.
func (c *Cluster) Fits(pod, node int) bool {
	kind := c.book.classes[c.book.class[pod]]
	return c.fits(kind, c.nodes[node], c.minima(kind))
}

// fits in the scheduler's terms, cheapest test first. minima are those of the
// class's spread constraints.
func (c *Cluster) fits(kind *class, p *place, minima []int) bool {
	if p.gone || p.Closed && !kind.cordoned || !kind.requests.Within(p.free) {
		return false
	}
	if kind.free && len(p.Taints) == 0 || Admits(kind.pod, &p.Node) {
		ports := kind.pod.GetHostPorts()
		return !slices.ContainsFunc(ports, func(port int32) bool { return p.ports[port] > 0 }) && c.spreads(kind, p, minima) && c.sociable(kind, p)
	}
	return false
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
		t := c.book.trackers[s.tracker]
		domains, first := 0, true
		for v, nodes := range c.domains[t.scope][t.key] {
			if nodes == 0 {
				continue
			}
			domains++
			if n := at(c.count[s.tracker].seen, int32(v)); first || n < least[i] {
				least[i], first = n, false
			}
		}
		if domains < s.minDomains {
			least[i] = 0
		}
	}
	return least
}

// spreads says whether no domain would get too far ahead of the others.
func (c *Cluster) spreads(kind *class, p *place, minima []int) bool {
	for i, s := range kind.spread {
		v := p.value[c.book.trackers[s.tracker].key]
		if c.heeds(s.tracker) && (v == none || at(c.count[s.tracker].seen, v)+s.self-minima[i] > s.maxSkew) {
			return false
		}
	}
	return true
}

// sociable says whether affinity and anti-affinity, the pod's own and that of
// the pods there, allow it.
func (c *Cluster) sociable(kind *class, p *place) bool {
	for _, id := range kind.forbiddenBy {
		if v := p.value[c.book.trackers[id].key]; v != none && at(c.count[id].owners, v) > 0 && c.heeds(id) {
			return false
		}
	}
	for _, id := range kind.anti {
		if v := p.value[c.book.trackers[id].key]; v != none && at(c.count[id].seen, v) > 0 && c.heeds(id) {
			return false
		}
	}
	return len(kind.affinity) == 0 || c.near(kind, p)
}

// near says whether the pods that the class wants near are there. Where there are
// none anywhere, a pod that matches its own terms may be the first.
func (c *Cluster) near(kind *class, p *place) bool {
	alone := kind.selfAffine
	for _, id := range kind.affinity {
		alone = alone && (c.count[id].total == 0 || !c.heeds(id))
	}
	for _, id := range kind.affinity {
		v := p.value[c.book.trackers[id].key]
		if c.heeds(id) && (v == none || !alone && at(c.count[id].seen, v) == 0) {
			return false
		}
	}
	return true
}
