package spotoptimize

import (
	"fmt"
	"math/bits"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

// group is pods that are alike to the packer. The packer knows resources,
// selectors, zones and how many of them one node may have; the rest of the
// scheduler's rules are left to the rehearsal, which adds what is missing.
type group struct {
	pods    []int
	need    fit.Amounts
	perNode int    // most on one node; 0: no limit
	zone    string // the only zone for these; empty: any
	admits  []bool // by column; nil: all
}

// manyGroups is where needs are rounded up to merge groups: packing time grows
// with their number.
const manyGroups = 600

// groups of the pods to be placed. nodes is how many there will be, by an
// estimate; it tells how many replicas of a spread-out workload share a node.
func (w *world) groups(pods []int, shelf *shelf, gone map[int]bool, nodes int) []*group {
	pins := w.pinZones(pods, shelf.columns, gone)
	made := w.gather(pods, pins, shelf, nodes, false)
	if len(made) > manyGroups {
		made = w.gather(pods, pins, shelf, nodes, true)
	}
	return made
}

func (w *world) gather(pods []int, pins map[int]string, shelf *shelf, nodes int, coarse bool) []*group {
	index := map[string]*group{}
	replicas := map[int]int{}
	for _, i := range pods {
		replicas[w.Book.Class(i)]++
	}
	spelled := map[int]string{} // by class
	var all []*group
	for _, i := range pods {
		pod, class := w.Book.Pod(i), w.Book.Class(i)
		need, perNode := w.Book.Requests(i), perNode(pod, replicas[class], nodes)
		if coarse {
			need.CPU, need.Memory = roundUp(need.CPU), roundUp(need.Memory)
		}
		if _, ok := spelled[class]; !ok {
			spelled[class] = scene.SelectorKey(pod)
		}
		key := fmt.Sprint(need, perNode, pins[i], "\x00", spelled[class])
		g := index[key]
		if g == nil {
			g = &group{need: need, perNode: perNode, zone: pins[i], admits: shelf.admitting(pod, pins[i], spelled[class])}
			index[key] = g
			all = append(all, g)
		}
		g.pods = append(g.pods, i)
	}
	return all
}

// roundUp to five significant bits: at most 6 % more.
func roundUp(v int64) int64 {
	if v < 32 {
		return v
	}
	step := int64(1) << (bits.Len64(uint64(v)) - 5)
	return (v + step - 1) / step * step
}

// admitting columns for a pod with this spelling of its selectors; nil: all.
func (s *shelf) admitting(pod *fleetv1.Pod, zone, selectors string) []bool {
	if zone == "" && selectors == "" {
		return nil
	}
	key := zone + "\x00" + selectors
	if can, ok := s.admits[key]; ok {
		return can
	}
	can := make([]bool, len(s.columns))
	for i, c := range s.columns {
		can[i] = (zone == "" || c.Zone == zone) && fit.Admits(pod, &c.Blank)
	}
	s.admits[key] = can
	return can
}

// perNode is how many pods like this one a node may have.
func perNode(pod *fleetv1.Pod, replicas, nodes int) int {
	if len(pod.GetHostPorts()) > 0 {
		return 1
	}
	for _, t := range pod.GetPodAntiAffinity() {
		if t.GetTopologyKey() == fit.LabelHostname && seesItself(pod, t) {
			return 1
		}
	}
	for _, s := range pod.GetTopologySpread() {
		if s.GetWhenUnsatisfiable() == "DoNotSchedule" && s.GetTopologyKey() == fit.LabelHostname && fit.Selects(s.GetSelector(), pod.GetLabels()) {
			return int(s.GetMaxSkew()) + replicas/max(1, nodes)
		}
	}
	return 0
}

func seesItself(pod *fleetv1.Pod, t *fleetv1.PodAffinityTerm) bool {
	own := len(t.GetNamespaces()) == 0 || t.GetNamespaceSelector() || slices.Contains(t.GetNamespaces(), pod.GetNamespace())
	return own && fit.Selects(t.GetSelector(), pod.GetLabels())
}

// pinZones gives pods that must keep together or apart by zone the zone that they
// should have: those with affinity, where they are now, since the others of
// their kind hold them there while they move; those that spread, in turn.
func (w *world) pinZones(pods []int, columns []*column, gone map[int]bool) map[int]string {
	pins := map[int]string{}
	var zones []string
	for _, c := range columns {
		if !slices.Contains(zones, c.Zone) {
			zones = append(zones, c.Zone)
		}
	}
	slices.Sort(zones)
	counts := map[string]map[string]int{} // constraint → zone → pods
	at := w.placeOf()
	for _, i := range pods {
		pod := w.Book.Pod(i)
		if n := at[i]; n != nil && zonal(pod.GetPodAffinity()) {
			pins[i] = n.Metric.GetAvailabilityZone()
			continue
		}
		selector := zoneSpread(pod)
		if selector == nil || len(zones) == 0 {
			continue
		}
		key := pod.GetNamespace() + "\x00" + selector.String()
		if counts[key] == nil {
			counts[key] = w.stayingByZone(pod.GetNamespace(), selector, gone)
		}
		pins[i] = emptiest(w.zonesFor(pod, zones), counts[key])
		counts[key][pins[i]]++
	}
	return pins
}

// placeOf each pod.
func (w *world) placeOf() map[int]*node {
	at := map[int]*node{}
	for _, n := range w.Nodes {
		for _, i := range n.Pods {
			at[i] = n
		}
	}
	return at
}

func zonal(terms []*fleetv1.PodAffinityTerm) bool {
	return slices.ContainsFunc(terms, func(t *fleetv1.PodAffinityTerm) bool { return t.GetTopologyKey() == fit.LabelZone })
}

// zoneSpread is the selector by which the pod spreads over zones, nil if it does not.
// Anti-affinity to its own kind by zone is the strictest spread.
func zoneSpread(pod *fleetv1.Pod) *fleetv1.LabelSelector {
	for _, s := range pod.GetTopologySpread() {
		if s.GetWhenUnsatisfiable() == "DoNotSchedule" && s.GetTopologyKey() == fit.LabelZone {
			return s.GetSelector()
		}
	}
	for _, t := range pod.GetPodAntiAffinity() {
		if t.GetTopologyKey() == fit.LabelZone && seesItself(pod, t) {
			return t.GetSelector()
		}
	}
	return nil
}

// zonesFor the pod among those to choose from.
func (w *world) zonesFor(pod *fleetv1.Pod, zones []string) []string {
	if len(pod.GetVolumeZones()) > 0 {
		zones = slices.DeleteFunc(slices.Clone(zones), func(z string) bool { return !slices.Contains(pod.GetVolumeZones(), z) })
	}
	if z, ok := pod.GetNodeSelector()[fit.LabelZone]; ok {
		return []string{z}
	}
	return zones
}

// stayingByZone counts the pods of a selector on nodes that do not go.
func (w *world) stayingByZone(namespace string, s *fleetv1.LabelSelector, gone map[int]bool) map[string]int {
	count := map[string]int{}
	for n, node := range w.Nodes {
		for _, i := range node.Pods {
			pod := w.Book.Pod(i)
			if !gone[n] && pod.GetNamespace() == namespace && fit.Selects(s, pod.GetLabels()) {
				count[node.Metric.GetAvailabilityZone()]++
			}
		}
	}
	return count
}

func emptiest(zones []string, count map[string]int) string {
	best := ""
	for _, zone := range zones {
		if best == "" || count[zone] < count[best] {
			best = zone
		}
	}
	return best
}
