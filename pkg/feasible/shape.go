package feasible

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// count is how many pods that a rule sees are in each domain: nodes with the same
// value of a label.
type count struct {
	key    string
	sees   func(*fleetv1.Pod) bool
	within func(*fleetv1.NodeMetric) bool // nodes that count; nil: all
	nodes  map[string]int                 // by domain
	pods   map[string]int
	owners map[string]int // pods that have the rule
	total  int            // pods, on nodes with the label
}

func (c *count) domain(n *fleetv1.NodeMetric) (string, bool) {
	d, ok := n.GetLabels()[c.key]
	return d, ok
}

func (c *count) addNode(n *fleetv1.NodeMetric) {
	if d, ok := c.domain(n); ok && (c.within == nil || c.within(n)) {
		c.nodes[d]++
	}
}

func (c *count) add(n *fleetv1.NodeMetric, sign int) {
	if d, ok := c.domain(n); ok && (c.within == nil || c.within(n)) {
		c.pods[d] += sign
		c.total += sign
	}
}

func (c *count) own(n *fleetv1.NodeMetric, sign int) {
	if d, ok := c.domain(n); ok {
		c.owners[d] += sign
	}
}

// shape is pods with the same rules and labels.
type shape struct {
	pod    *fleetv1.Pod
	spread []spread
	near   []*count // domains must have what all terms speak of
	starts bool     // its own terms speak of it
	apart  []*count // domains must not have what one term speaks of; others heed these too
	seenBy []*count
}

type spread struct {
	count         *count
	skew, domains int
	self          int
}

// count by name, made once.
func (b *Board) count(name, key string, sees func(*fleetv1.Pod) bool, within func(*fleetv1.NodeMetric) bool) *count {
	c := b.counts[name]
	if c == nil {
		c = &count{key: key, sees: sees, within: within, nodes: map[string]int{}, pods: map[string]int{}, owners: map[string]int{}}
		b.counts[name] = c
		b.all = append(b.all, c)
	}
	return c
}

// shapeOf a pod, with its counts.
func (b *Board) shapeOf(pod *fleetv1.Pod) *shape {
	key := spelled(&fleetv1.Pod{
		Namespace: pod.GetNamespace(), Labels: pod.GetLabels(), Terminating: pod.GetTerminating(), NodeSelector: pod.GetNodeSelector(),
		NodeAffinity: pod.GetNodeAffinity(), PodAffinity: pod.GetPodAffinity(), PodAntiAffinity: pod.GetPodAntiAffinity(),
		TopologySpread: pod.GetTopologySpread(),
	})
	if s := b.shapes[key]; s != nil {
		return s
	}
	s := &shape{pod: pod}
	b.shapes[key] = s
	b.spreads(s)
	b.friends(s)
	for _, t := range pod.GetPodAntiAffinity() {
		c := b.count("apart\x00"+ownTerm(pod, t), t.GetTopologyKey(), func(p *fleetv1.Pod) bool { return speaks(t, pod, p) }, nil)
		s.apart = append(s.apart, c)
	}
	return s
}

// spelled exactly, for use as a key in this process.
func spelled(m proto.Message) string {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Sprint(m) // invalid UTF-8, which no decoder lets through
	}
	return string(raw)
}

// ownTerm spells a term with the namespace that it means.
func ownTerm(owner *fleetv1.Pod, t *fleetv1.PodAffinityTerm) string {
	if len(t.GetNamespaces()) == 0 && !t.GetNamespaceSelector() {
		return owner.GetNamespace() + "\x00" + spelled(t)
	}
	return spelled(t)
}

// spreads counts, for each hard constraint, pods in the domains of the nodes that the
// pod could go to by its node affinity and that have the labels of all constraints.
func (b *Board) spreads(s *shape) {
	var keys []string
	var hard []*fleetv1.TopologySpread
	for _, t := range s.pod.GetTopologySpread() {
		if t.GetWhenUnsatisfiable() == hardSpread {
			keys, hard = append(keys, t.GetTopologyKey()), append(hard, t)
		}
	}
	within := func(n *fleetv1.NodeMetric) bool {
		for _, key := range keys {
			if _, ok := n.GetLabels()[key]; !ok {
				return false
			}
		}
		return admitted(s.pod, n)
	}
	scope := spelled(&fleetv1.Pod{NodeSelector: s.pod.GetNodeSelector(), NodeAffinity: s.pod.GetNodeAffinity()}) + strings.Join(keys, "\x01")
	for _, t := range hard {
		sees := func(p *fleetv1.Pod) bool {
			return !p.GetTerminating() && p.GetNamespace() == s.pod.GetNamespace() && Selects(t.GetSelector(), p.GetLabels())
		}
		selector := "none"
		if t.GetSelector() != nil {
			selector = "some" + spelled(t.GetSelector())
		}
		name := strings.Join([]string{"spread", s.pod.GetNamespace(), t.GetTopologyKey(), selector, scope}, "\x00")
		limit := spread{count: b.count(name, t.GetTopologyKey(), sees, within), skew: int(t.GetMaxSkew()), domains: int(t.GetMinDomains())}
		if sees(s.pod) {
			limit.self = 1
		}
		s.spread = append(s.spread, limit)
	}
}

// friends counts the pods that all affinity terms speak of at once, by each term's key.
func (b *Board) friends(s *shape) {
	terms := s.pod.GetPodAffinity()
	if len(terms) == 0 {
		return
	}
	all := func(p *fleetv1.Pod) bool {
		return !slices.ContainsFunc(terms, func(t *fleetv1.PodAffinityTerm) bool { return !speaks(t, s.pod, p) })
	}
	var names []string
	for _, t := range terms {
		names = append(names, ownTerm(s.pod, t))
	}
	for _, t := range terms {
		name := "near\x00" + t.GetTopologyKey() + "\x00" + strings.Join(names, "\x01")
		s.near = append(s.near, b.count(name, t.GetTopologyKey(), all, nil))
	}
	s.starts = all(s.pod)
}

// refusal of a node by the pods that are there and in its domains.
func (s *shape) refusal(n *fleetv1.NodeMetric) (rule, detail string) {
	for _, limit := range s.spread {
		if why := limit.broken(n); why != "" {
			return RuleSpread, why
		}
	}
	if why := s.lonely(n); why != "" {
		return RuleAffinity, why
	}
	for _, c := range s.apart {
		if d, ok := c.domain(n); ok && c.pods[d] > 0 {
			return RuleApart, fmt.Sprintf("%d pods to keep apart from in %s=%s", c.pods[d], c.key, d)
		}
	}
	for _, c := range s.seenBy { // owners are only counted for anti-affinity
		if d, ok := c.domain(n); ok && c.owners[d] > 0 {
			return RuleShunned, fmt.Sprintf("%d pods keep it out of %s=%s", c.owners[d], c.key, d)
		}
	}
	return "", ""
}

// broken says why one more pod in the node's domain would be too many.
func (l spread) broken(n *fleetv1.NodeMetric) string {
	d, ok := l.count.domain(n)
	if !ok {
		return "the node has no label " + l.count.key
	}
	least, first := 0, true
	for domain := range l.count.nodes {
		if have := l.count.pods[domain]; first || have < least {
			least, first = have, false
		}
	}
	if len(l.count.nodes) < l.domains {
		least = 0
	}
	if skew := l.count.pods[d] + l.self - least; skew > l.skew {
		return fmt.Sprintf("skew %d over %s, at most %d", skew, l.count.key, l.skew)
	}
	return ""
}

// lonely says why what the pod wants near is not near. Where there is none of it
// anywhere, a pod that its own terms speak of may be the first.
func (s *shape) lonely(n *fleetv1.NodeMetric) string {
	anywhere := false
	for _, c := range s.near {
		anywhere = anywhere || c.total > 0
	}
	for _, c := range s.near {
		d, ok := c.domain(n)
		if !ok {
			return "the node has no label " + c.key
		}
		if c.pods[d] == 0 && (anywhere || !s.starts) {
			return fmt.Sprintf("nothing it wants near is in %s=%s", c.key, d)
		}
	}
	return ""
}
