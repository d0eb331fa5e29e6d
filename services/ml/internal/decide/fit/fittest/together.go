package fittest

import (
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// spread is PodTopologySpread: for each hard constraint, the pods of the node's
// domain, the new one counted if it matches, less those of the emptiest eligible
// domain, must not exceed the skew.
func (w *World) spread(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	var hard []*fleetv1.TopologySpread
	for _, s := range pod.GetTopologySpread() {
		if s.GetWhenUnsatisfiable() == "DoNotSchedule" {
			hard = append(hard, s)
		}
	}
	for _, s := range hard {
		domain, ok := node.GetLabels()[s.GetTopologyKey()]
		if !ok {
			return "no label " + s.GetTopologyKey()
		}
		counts := w.domains(pod, s, hard)
		least := counts[emptiest(counts)]
		if len(counts) < int(s.GetMinDomains()) {
			least = 0
		}
		self := 0
		if counted(pod, s, pod) {
			self = 1
		}
		if counts[domain]+self-least > int(s.GetMaxSkew()) {
			return "spread over " + s.GetTopologyKey()
		}
	}
	return ""
}

// counted says whether a constraint of owner's counts the pod.
func counted(owner *fleetv1.Pod, s *fleetv1.TopologySpread, pod *fleetv1.Pod) bool {
	return !pod.GetTerminating() && pod.GetNamespace() == owner.GetNamespace() && selects(s.GetSelector(), pod.GetLabels())
}

// domains with their pods: those of nodes that the pod could go to by its node
// affinity and that have the labels of all its constraints.
func (w *World) domains(pod *fleetv1.Pod, s *fleetv1.TopologySpread, hard []*fleetv1.TopologySpread) map[string]int {
	counts := map[string]int{}
	for _, n := range w.Nodes {
		lacks := slices.ContainsFunc(hard, func(h *fleetv1.TopologySpread) bool {
			_, has := n.GetLabels()[h.GetTopologyKey()]
			return !has
		})
		if lacks || !admits(pod, n) {
			continue
		}
		domain := n.GetLabels()[s.GetTopologyKey()]
		counts[domain] += 0
		for _, p := range w.on(n.GetNodeName()) {
			if counted(pod, s, p) {
				counts[domain]++
			}
		}
	}
	return counts
}

func emptiest(counts map[string]int) string {
	best, found := "", false
	for domain, n := range counts {
		if !found || n < counts[best] {
			best, found = domain, true
		}
	}
	return best
}

// speaksOf says whether a term of owner's is about the pod.
func speaksOf(t *fleetv1.PodAffinityTerm, owner, pod *fleetv1.Pod) bool {
	namespaces := t.GetNamespaces()
	if len(namespaces) == 0 && !t.GetNamespaceSelector() {
		namespaces = []string{owner.GetNamespace()}
	}
	return (t.GetNamespaceSelector() || slices.Contains(namespaces, pod.GetNamespace())) && selects(t.GetSelector(), pod.GetLabels())
}

// inDomain says whether the placed pod is in the same domain as the node.
func (w *World) inDomain(placed *fleetv1.Pod, node *fleetv1.NodeMetric, key string) bool {
	at := w.node(placed.GetNodeName())
	if at == nil {
		return false
	}
	a, ok := at.GetLabels()[key]
	b, has := node.GetLabels()[key]
	return ok && has && a == b
}

// affinity: in each term's domain there must be a pod that all terms speak of;
// where there is none anywhere, a pod that all its own terms speak of may start.
func (w *World) affinity(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	terms := pod.GetPodAffinity()
	every := func(p *fleetv1.Pod) bool {
		return !slices.ContainsFunc(terms, func(t *fleetv1.PodAffinityTerm) bool { return !speaksOf(t, pod, p) })
	}
	var friends []*fleetv1.Pod
	anywhere := false
	for _, p := range w.Pods {
		if at := w.node(p.GetNodeName()); at != nil && len(terms) > 0 && every(p) {
			friends = append(friends, p)
			anywhere = anywhere || slices.ContainsFunc(terms, func(t *fleetv1.PodAffinityTerm) bool {
				_, has := at.GetLabels()[t.GetTopologyKey()]
				return has
			})
		}
	}
	for _, t := range terms {
		if _, has := node.GetLabels()[t.GetTopologyKey()]; !has {
			return "no label " + t.GetTopologyKey()
		}
		near := slices.ContainsFunc(friends, func(p *fleetv1.Pod) bool { return w.inDomain(p, node, t.GetTopologyKey()) })
		if !near && (anywhere || !every(pod)) {
			return "affinity"
		}
	}
	return ""
}

func (w *World) antiAffinity(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	for _, t := range pod.GetPodAntiAffinity() {
		for _, p := range w.Pods {
			if speaksOf(t, pod, p) && w.inDomain(p, node, t.GetTopologyKey()) {
				return "anti-affinity to " + p.GetName()
			}
		}
	}
	return ""
}

// shunned by the anti-affinity of pods that are there already.
func (w *World) shunned(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	for _, p := range w.Pods {
		for _, t := range p.GetPodAntiAffinity() {
			if speaksOf(t, p, pod) && w.inDomain(p, node, t.GetTopologyKey()) {
				return "anti-affinity of " + p.GetName()
			}
		}
	}
	return ""
}
