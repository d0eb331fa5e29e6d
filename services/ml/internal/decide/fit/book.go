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
	keys     []string // topology keys that trackers look at
	scopes   []*scope
	names    names
}

// scope is the nodes that a spread constraint counts on. The first is all nodes.
type scope struct {
	class *class // nodes must admit it
	keys  []int  // and have these labels
}

// class is a set of pods that the scheduler cannot tell apart.
type class struct {
	pod      *fleetv1.Pod
	requests Amounts
	free     bool // no selector, affinity or volume zone: every node without taints is admitted
	cordoned bool // tolerates that a node is cordoned

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
	key     int // of Book.keys
	scope   int // of Book.scopes
	selects func(*fleetv1.Pod) bool
	label   string // key and value that every pod it selects has; empty: not known
}

// NewBook of the pods; the index of a pod in the slice is its name from now on.
func NewBook(pods []*fleetv1.Pod) *Book {
	b := &Book{pods: pods, class: make([]int, len(pods)), names: names{index: map[string]int{}}, scopes: []*scope{{}}}
	seen, spell := map[string]int{}, &speller{}
	for i, pod := range pods {
		text := spell.pod(pod)
		id, ok := seen[string(text)]
		if !ok {
			id = len(b.classes)
			seen[string(text)] = id
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
		cordoned: tolerated([]*fleetv1.Taint{unschedulable}, pod.GetTolerations()),
		free:     len(pod.GetNodeSelector()) == 0 && len(pod.GetNodeAffinity()) == 0 && len(pod.GetVolumeZones()) == 0,
	}
}

// maker makes trackers, each only once.
type maker struct {
	book   *Book
	byName map[string]int
	scopes map[string]int
}

// track makes the trackers of all classes and links the classes to them.
func (b *Book) track() {
	m := &maker{book: b, byName: map[string]int{}, scopes: map[string]int{}}
	owners := map[int]bool{}
	for _, c := range b.classes {
		m.spread(c)
		m.affinity(c)
		for _, t := range c.pod.GetPodAntiAffinity() {
			id := m.add("anti\x00"+termKey(c.pod, t), t.GetTopologyKey(), 0, termSelects(c.pod, t), t.GetSelector())
			c.anti = append(c.anti, id)
			owners[id] = true
		}
	}
	byLabel := map[string][]int{}
	for id, t := range b.trackers {
		byLabel[t.label] = append(byLabel[t.label], id)
	}
	for _, c := range b.classes {
		for _, id := range mayCount(c.pod, byLabel) {
			if b.trackers[id].selects(c.pod) {
				c.countedBy = append(c.countedBy, id)
				if owners[id] {
					c.forbiddenBy = append(c.forbiddenBy, id)
				}
			}
		}
	}
}

// mayCount is the trackers that a pod's labels do not rule out: asking every tracker
// about every pod takes too long where each workload has its own.
func mayCount(pod *fleetv1.Pod, byLabel map[string][]int) []int {
	ids := slices.Clone(byLabel[""])
	for key, value := range pod.GetLabels() {
		ids = append(ids, byLabel[labelName(key, value)]...)
	}
	slices.Sort(ids)
	return ids
}

func labelName(key, value string) string { return key + "\x00" + value }

// labelOf a selector that pods must have to be selected, empty if it names none.
func labelOf(s *fleetv1.LabelSelector) string {
	least := ""
	for key, value := range s.GetMatchLabels() {
		if name := labelName(key, value); least == "" || name < least {
			least = name
		}
	}
	return least
}

func (m *maker) add(name, key string, scope int, selects func(*fleetv1.Pod) bool, selector *fleetv1.LabelSelector) int {
	id, ok := m.byName[name]
	if !ok {
		id = len(m.book.trackers)
		m.byName[name] = id
		m.book.trackers = append(m.book.trackers, &tracker{key: m.key(key), scope: scope, selects: selects, label: labelOf(selector)})
	}
	return id
}

func (m *maker) key(name string) int {
	for i, known := range m.book.keys {
		if known == name {
			return i
		}
	}
	m.book.keys = append(m.book.keys, name)
	return len(m.book.keys) - 1
}

// scope of the class's spread constraints: nodes that it is admitted to and that
// have all the constraints' labels.
func (m *maker) scope(c *class, keys []string) (id int, name string) {
	where := &fleetv1.Pod{NodeSelector: c.pod.GetNodeSelector(), NodeAffinity: c.pod.GetNodeAffinity()}
	name = key(where) + "\x00" + strings.Join(keys, "\x01")
	id, ok := m.scopes[name]
	if !ok {
		s := &scope{class: c}
		for _, k := range keys {
			s.keys = append(s.keys, m.key(k))
		}
		id = len(m.book.scopes)
		m.scopes[name] = id
		m.book.scopes = append(m.book.scopes, s)
	}
	return id, name
}

func (m *maker) spread(c *class) {
	var hard []*fleetv1.TopologySpread
	var keys []string
	for _, s := range c.pod.GetTopologySpread() {
		if s.GetWhenUnsatisfiable() == "DoNotSchedule" {
			hard, keys = append(hard, s), append(keys, s.GetTopologyKey())
		}
	}
	if len(hard) == 0 {
		return
	}
	scope, scopeName := m.scope(c, keys)
	for _, s := range hard {
		// Counting skips pods that are on their way out, as the scheduler does.
		sees := func(p *fleetv1.Pod) bool {
			return p.GetNamespace() == c.pod.GetNamespace() && !p.GetTerminating() && Selects(s.GetSelector(), p.GetLabels())
		}
		selector := "none"
		if s.GetSelector() != nil {
			selector = "some" + key(s.GetSelector())
		}
		name := strings.Join([]string{"spread", c.pod.GetNamespace(), s.GetTopologyKey(), selector, scopeName}, "\x00")
		limit := spread{maxSkew: int(s.GetMaxSkew()), minDomains: int(s.GetMinDomains())}
		limit.tracker = m.add(name, s.GetTopologyKey(), scope, sees, s.GetSelector())
		if sees(c.pod) {
			limit.self = 1
		}
		c.spread = append(c.spread, limit)
	}
}

// affinity counts pods that match all terms at once: that is how the scheduler
// reads several terms.
func (m *maker) affinity(c *class) {
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
		c.affinity = append(c.affinity, m.add(name, t.GetTopologyKey(), 0, all, terms[0].GetSelector()))
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
