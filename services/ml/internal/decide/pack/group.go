package pack

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// group is pods that are alike to the packer, handled as a count.
type group struct {
	pods   []int
	need   fit.Amounts
	vector []float64
	mask   *mask             // offers that admit them
	pin    map[string]string // topology values that they keep to; nil: any
	host   *hostRules        // nil: they have nothing to do with pods on the same node

	value float64 // of one pod
}

// hostRules are the rules between pods on one node.
type hostRules struct {
	ports     []int32
	most      int   // on one node; 0: no limit
	together  bool  // all on one node
	anti      []int // trackers, as in fit.Rules
	counted   []int
	forbidden []int
	near      []int // must see a pod on the node
}

// groups of the pods; pins are the topology values that some must keep to. nodes is
// how many nodes there will be, by an estimate.
func (m *model) groups(pods []int, pins map[int]map[string]string, nodes int) []*group {
	index := map[string]*group{}
	replicas := map[int]int{}
	for _, pod := range pods {
		replicas[m.p.Book.Class(pod)]++
	}
	type known struct {
		host *hostRules
		key  string
	}
	classes := map[int]known{}
	var all []*group
	for _, pod := range pods {
		class := m.p.Book.Class(pod)
		c, ok := classes[class]
		if !ok {
			c.host = m.hostRules(pod, replicas[class], nodes)
			c.key = fmt.Sprint(m.p.Book.Requests(pod), m.maskOf(pod).id)
			if c.host != nil {
				c.key += fmt.Sprint(" class ", class)
			}
			classes[class] = c
		}
		key := c.key
		pin := pins[pod]
		if len(pin) > 0 {
			key += spell(pin)
		}
		g := index[key]
		if g == nil {
			need := m.p.Book.Requests(pod)
			g = &group{need: need, vector: m.vector(need), mask: m.pinned(m.maskOf(pod), pin), pin: pin, host: c.host}
			index[key] = g
			all = append(all, g)
		}
		g.pods = append(g.pods, pod)
	}
	return all
}

func spell(pin map[string]string) string {
	text := strings.Builder{}
	for _, key := range slices.Sorted(maps.Keys(pin)) {
		text.WriteString("\x00" + key + "=" + pin[key])
	}
	return text.String()
}

// pinned is the offers of a mask with these labels.
func (m *model) pinned(k *mask, pin map[string]string) *mask {
	if len(pin) == 0 {
		return k
	}
	key := fmt.Sprint(k.id, spell(pin))
	known, ok := m.admission[key]
	if !ok {
		known = m.mask(func(brand int) bool { return k.has(brand) && labelled(m.brands[brand].Labels, pin) })
		m.admission[key] = known
	}
	return known
}

func labelled(labels, pin map[string]string) bool {
	for key, value := range pin {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// hostRules of a pod, nil if there are none.
func (m *model) hostRules(pod, replicas, nodes int) *hostRules {
	r := m.p.Book.Rules(pod)
	h := &hostRules{ports: m.p.Book.Pod(pod).GetHostPorts()}
	h.anti, h.counted = m.byHost(r.Anti), m.byHost(r.CountedBy)
	h.forbidden, h.near = m.byHost(r.ForbiddenBy), m.byHost(r.Affinity)
	h.together = len(h.near) > 0 && r.SelfAffine
	for _, s := range r.Spread {
		if m.p.Book.TopologyKey(s.Tracker) == fit.LabelHostname && s.Self {
			h.limit(max(s.MaxSkew, (replicas+nodes-1)/max(1, nodes)))
		}
	}
	if len(h.ports) > 0 {
		h.limit(1)
	}
	for _, t := range h.anti {
		if slices.Contains(h.counted, t) {
			h.limit(1)
		}
	}
	if h.most == 0 && len(h.anti)+len(h.counted)+len(h.forbidden)+len(h.near) == 0 {
		return nil
	}
	return h
}

func (h *hostRules) limit(n int) {
	if h.most == 0 || n < h.most {
		h.most = n
	}
}

func (m *model) byHost(trackers []int) []int {
	var host []int
	for _, t := range trackers {
		if m.p.Book.TopologyKey(t) == fit.LabelHostname {
			host = append(host, t)
		}
	}
	return host
}

// weigh the groups by prices and sort them, dearest first.
func weigh(groups []*group, by *prices) {
	for _, g := range groups {
		g.value = max(by.value(g.mask, g.vector), valueLeast)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(b.value, a.value) })
}

// valueLeast is what a pod is worth that asks for nothing.
const valueLeast = 1e-9

// masksOf the groups, each once.
func masksOf(groups []*group) (masks []*mask) {
	seen := map[*mask]bool{}
	for _, g := range groups {
		if !seen[g.mask] {
			seen[g.mask] = true
			masks = append(masks, g.mask)
		}
	}
	return masks
}
