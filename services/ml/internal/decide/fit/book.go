// Package fit answers whether a pod can run on a node by the filters of the
// kube-scheduler, and foretells where the scheduler would put pods.
package fit

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Book holds what is known of all pods before any is placed: which are alike,
// and which selectors see which. It is built once and read by many Clusters.
type Book struct {
	pods     []*fleetv1.Pod
	class    []int // by pod
	classes  []*class
	trackers []*tracker
	names    names
}

// class is a set of pods that the scheduler cannot tell apart.
type class struct {
	pod      *fleetv1.Pod
	requests Amounts
	free     bool // no selector, affinity or volume zone: every node is admitted

	spread      []spread
	affinity    []int // trackers, all of which must be present
	selfAffine  bool  // matches its own affinity terms
	anti        []int // trackers, none of which may be present
	countedBy   []int // trackers that count this class
	forbiddenBy []int // anti-affinity trackers whose owners shun this class
}

// spread is one DoNotSchedule constraint.
type spread struct {
	tracker    int
	maxSkew    int
	minDomains int
	self       int // 1 if the constraint counts the pod itself
}

// tracker counts, per value of a topology label, the pods that a selector sees.
type tracker struct {
	key string
	// nodes limits counting to nodes that this class is admitted to and that have
	// all keys, as spread constraints do; nil counts everywhere.
	nodes *class
	keys  []string

	selects func(*fleetv1.Pod) bool
}

// NewBook of the pods; the index of a pod in the slice is its name from now on.
func NewBook(pods []*fleetv1.Pod) *Book {
	b := &Book{pods: pods, class: make([]int, len(pods)), names: names{index: map[string]int{}}}
	seen := map[string]int{}
	for i, pod := range pods {
		key := classKey(pod)
		id, ok := seen[key]
		if !ok {
			id = len(b.classes)
			seen[key] = id
			b.classes = append(b.classes, b.newClass(pod))
		}
		b.class[i] = id
	}
	b.track()
	return b
}

// Amounts reads resources in this book's order.
func (b *Book) Amounts(r *fleetv1.Resources) Amounts { return b.names.amounts(r) }

// Class of a pod: equal for pods that the scheduler cannot tell apart.
func (b *Book) Class(pod int) int { return b.class[pod] }

// Classes there are.
func (b *Book) Classes() int { return len(b.classes) }

// Pods there are.
func (b *Book) Pods() int { return len(b.pods) }

// Requests of a pod, its slot among a node's pods included.
func (b *Book) Requests(pod int) Amounts { return b.classes[b.class[pod]].requests }

// Pod by index.
func (b *Book) Pod(pod int) *fleetv1.Pod { return b.pods[pod] }

// classKey spells everything about a pod that the filters look at.
func classKey(pod *fleetv1.Pod) string {
	like := &fleetv1.Pod{
		Namespace: pod.GetNamespace(), Labels: pod.GetLabels(), Requests: pod.GetRequests(), Terminating: pod.GetTerminating(),
		NodeSelector: pod.GetNodeSelector(), NodeAffinity: pod.GetNodeAffinity(), PodAffinity: pod.GetPodAffinity(),
		PodAntiAffinity: pod.GetPodAntiAffinity(), Tolerations: pod.GetTolerations(), TopologySpread: pod.GetTopologySpread(),
		VolumeZones: pod.GetVolumeZones(), HostPorts: pod.GetHostPorts(),
	}
	return key(like)
}

// key is an exact spelling of a message, for use in maps of this process.
func key(m proto.Message) string {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "" // only on invalid UTF-8, which cannot have come through a proto or JSON decoder
	}
	return string(text)
}

func (b *Book) newClass(pod *fleetv1.Pod) *class {
	requests := b.names.amounts(pod.GetRequests())
	requests.Pods = 1
	return &class{
		pod: pod, requests: requests,
		free: len(pod.GetNodeSelector()) == 0 && len(pod.GetNodeAffinity()) == 0 && len(pod.GetVolumeZones()) == 0,
	}
}

// track makes the trackers of all classes and links the classes to them.
func (b *Book) track() {
	index := map[string]int{}
	add := func(key string, t *tracker) int {
		id, ok := index[key]
		if !ok {
			id = len(b.trackers)
			index[key] = id
			b.trackers = append(b.trackers, t)
		}
		return id
	}
	owners := map[int]bool{}
	for _, c := range b.classes {
		c.trackSpread(add)
		c.trackAffinity(add)
		for _, t := range c.pod.GetPodAntiAffinity() {
			id := add("anti\x00"+termKey(c.pod, t), &tracker{key: t.GetTopologyKey(), selects: termSelects(c.pod, t)})
			c.anti = append(c.anti, id)
			owners[id] = true
		}
	}
	for _, c := range b.classes {
		for id, t := range b.trackers {
			if t.selects(c.pod) {
				c.countedBy = append(c.countedBy, id)
				if owners[id] {
					c.forbiddenBy = append(c.forbiddenBy, id)
				}
			}
		}
	}
}

func (c *class) trackSpread(add func(string, *tracker) int) {
	var hard []*fleetv1.TopologySpread
	var keys []string
	for _, s := range c.pod.GetTopologySpread() {
		if s.GetWhenUnsatisfiable() == "DoNotSchedule" {
			hard, keys = append(hard, s), append(keys, s.GetTopologyKey())
		}
	}
	where := key(&fleetv1.Pod{NodeSelector: c.pod.GetNodeSelector(), NodeAffinity: c.pod.GetNodeAffinity()})
	for _, s := range hard {
		// Counting skips pods that are on their way out, as the scheduler does.
		sees := func(p *fleetv1.Pod) bool {
			return p.GetNamespace() == c.pod.GetNamespace() && !p.GetTerminating() && Selects(s.GetSelector(), p.GetLabels())
		}
		spelled := strings.Join([]string{"spread", c.pod.GetNamespace(), s.GetTopologyKey(), key(s.GetSelector()), where, strings.Join(keys, "\x01")}, "\x00")
		limit := spread{maxSkew: int(s.GetMaxSkew()), minDomains: int(s.GetMinDomains())}
		limit.tracker = add(spelled, &tracker{key: s.GetTopologyKey(), nodes: c, keys: keys, selects: sees})
		if sees(c.pod) {
			limit.self = 1
		}
		c.spread = append(c.spread, limit)
	}
}

// trackAffinity counts pods that match all terms at once: that is how the
// scheduler reads several terms.
func (c *class) trackAffinity(add func(string, *tracker) int) {
	terms := c.pod.GetPodAffinity()
	if len(terms) == 0 {
		return
	}
	var spelled []string
	for _, t := range terms {
		spelled = append(spelled, termKey(c.pod, t))
	}
	all := func(p *fleetv1.Pod) bool {
		return !slices.ContainsFunc(terms, func(t *fleetv1.PodAffinityTerm) bool { return !termSelects(c.pod, t)(p) })
	}
	for _, t := range terms {
		name := "affinity\x00" + t.GetTopologyKey() + "\x00" + strings.Join(spelled, "\x01")
		c.affinity = append(c.affinity, add(name, &tracker{key: t.GetTopologyKey(), selects: all}))
	}
	c.selfAffine = all(c.pod)
}

func termKey(owner *fleetv1.Pod, t *fleetv1.PodAffinityTerm) string {
	if len(t.GetNamespaces()) > 0 || t.GetNamespaceSelector() {
		return key(t)
	}
	return owner.GetNamespace() + "\x00" + key(t)
}

// termSelects says which pods a term speaks of. A namespace selector is read
// as all namespaces, since namespace labels are not seen: right for anti-affinity,
// where too much is safe; pods with such an affinity are not moved at all.
func termSelects(owner *fleetv1.Pod, t *fleetv1.PodAffinityTerm) func(*fleetv1.Pod) bool {
	return func(p *fleetv1.Pod) bool {
		if !Selects(t.GetSelector(), p.GetLabels()) {
			return false
		}
		switch {
		case t.GetNamespaceSelector():
			return true
		case len(t.GetNamespaces()) == 0:
			return p.GetNamespace() == owner.GetNamespace()
		}
		return slices.Contains(t.GetNamespaces(), p.GetNamespace())
	}
}
