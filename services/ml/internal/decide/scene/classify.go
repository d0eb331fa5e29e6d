package scene

import (
	"fmt"
	"path"
	"slices"
	"strings"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// Reasons of NodeVerdict, as the contract names them.
const (
	ReasonReplaced      = "replaced"
	ReasonSpotAlready   = "spot_already"
	ReasonDoNotDisrupt  = "do_not_disrupt"
	ReasonPodNo         = "pod_do_not_disrupt"
	ReasonBudget        = "pdb_blocks"
	ReasonUnmanaged     = "unmanaged_pod"
	ReasonVolume        = "local_volume"
	ReasonNoSaving      = "no_saving"
	ReasonFloor         = "on_demand_floor"
	ReasonSpotShare     = "spot_share"
	ReasonNotReady      = "not_ready"
	ReasonNotEC2        = "not_ec2"
	ReasonCordoned      = "cordoned_by_other"
	ReasonUnschedulable = "unschedulable_pod"
	ReasonProtected     = "protected_namespace"
	ReasonFresh         = "fresh"
	ReasonEvictions     = "max_evictions"
	ReasonNodeBudget    = "max_nodes_disrupted"
	ReasonNeeded        = "holds_pods_cheaply"
)

// classify finds the nodes that must stay, whatever it would save.
func (w *World) classify() {
	budgets := NewBudgets(w.State.GetPodDisruptionBudgets())
	blind := len(w.State.GetPods()) == 0
	for _, n := range w.Nodes {
		n.Reason, n.Detail = w.nodeStays(n.Metric)
		if n.Reason == "" && n.Price == 0 {
			n.Reason, n.Detail = ReasonNoSaving, "no price is known for "+n.Metric.GetInstanceType()
		}
		if n.Reason == "" && w.Fresh(n.Metric) {
			n.Reason, n.Detail = ReasonNoSaving, "CloudOptim bought it only lately"
		}
		if n.Reason == "" && blind && n.Metric.GetPodCount() > 0 {
			n.Reason, n.Detail = ReasonUnschedulable, fmt.Sprintf("its %d pods are not in the state", n.Metric.GetPodCount())
		}
		for _, i := range n.Moves {
			if n.Reason != "" {
				break
			}
			n.Reason, n.Detail = w.podStays(w.Book.Pod(i), budgets)
		}
	}
}

// Fresh nodes carry the label that every plan gives its new nodes, and are young or
// of unknown age.
func (w *World) Fresh(m *fleetv1.NodeMetric) bool {
	_, ours := m.GetLabels()["cloudoptim.io/capacity-type"]
	return ours && (m.GetCreatedAt() == nil || w.At.Sub(m.GetCreatedAt().AsTime()) < w.rules.Settle)
}

// Settling says whether the cluster has just been changed.
func (w *World) Settling() bool {
	return slices.ContainsFunc(w.Nodes, func(n *Node) bool { return w.Fresh(n.Metric) })
}

// nodeStays says why a node itself must stay.
func (w *World) nodeStays(m *fleetv1.NodeMetric) (reason, detail string) {
	switch {
	case m.GetInstanceType() == "":
		return ReasonNotEC2, "the node has no instance type"
	case m.GetInstanceId() == "":
		return ReasonNotEC2, "the node has no instance id, so it could not be terminated"
	case m.GetDoNotDisrupt():
		return ReasonDoNotDisrupt, "an annotation of the node forbids it"
	case w.rules.KeepSpot && m.GetNodeType() == "spot":
		return ReasonSpotAlready, ""
	case !m.GetReady():
		return ReasonNotReady, ""
	case m.GetUnschedulable():
		return ReasonCordoned, "someone else is at work on it"
	}
	return "", ""
}

// podStays says why a pod keeps its node.
func (w *World) podStays(pod *fleetv1.Pod, budgets Budgets) (reason, detail string) {
	name := pod.GetNamespace() + "/" + pod.GetName()
	if pod.GetDoNotDisrupt() != "" {
		return ReasonPodNo, name + ": " + pod.GetDoNotDisrupt()
	}
	if pod.GetOwner().GetKind() == "" {
		return ReasonUnmanaged, name
	}
	for _, pattern := range w.rules.Protected {
		if ok, err := path.Match(pattern, pod.GetNamespace()); ok && err == nil {
			return ReasonProtected, name
		}
	}
	if why := budgets.Blocks(pod); why != "" {
		return ReasonBudget, why
	}
	for _, t := range slices.Concat(pod.GetPodAffinity(), pod.GetPodAntiAffinity()) {
		if t.GetNamespaceSelector() {
			return ReasonUnschedulable, name + ": its affinity selects namespaces by label, which are not known"
		}
	}
	return "", ""
}

// Budgets are the disruption budgets by namespace.
type Budgets map[string][]*fleetv1.PodDisruptionBudget

// NewBudgets by namespace.
func NewBudgets(all []*fleetv1.PodDisruptionBudget) Budgets {
	b := Budgets{}
	for _, pdb := range all {
		b[pdb.GetNamespace()] = append(b[pdb.GetNamespace()], pdb)
	}
	return b
}

// Blocks says which budget can never allow the eviction, empty if none. One that
// is only exhausted for now does not block: the drain waits for it.
func (b Budgets) Blocks(pod *fleetv1.Pod) string {
	guards := ""
	for _, pdb := range b[pod.GetNamespace()] {
		if !fit.Selects(pdb.GetSelector(), pod.GetLabels()) {
			continue
		}
		name := pdb.GetNamespace() + "/" + pdb.GetName()
		if pdb.GetDisruptionsAllowed() == 0 && pdb.GetExpectedPods() > 0 && pdb.GetExpectedPods() <= pdb.GetDesiredHealthy() {
			return fmt.Sprintf("budget %s of %s/%s wants all its %d pods", name, pod.GetNamespace(), pod.GetName(), pdb.GetExpectedPods())
		}
		if guards != "" {
			// The eviction API answers 500 for a pod with more than one budget.
			return fmt.Sprintf("two budgets, %s and %s, guard %s/%s", guards, name, pod.GetNamespace(), pod.GetName())
		}
		guards = name
	}
	return ""
}

// SelectorKey spells which nodes a pod may go to, taints aside; empty: any.
func SelectorKey(pod *fleetv1.Pod) string {
	if len(pod.GetNodeSelector()) == 0 && len(pod.GetNodeAffinity()) == 0 && len(pod.GetVolumeZones()) == 0 {
		return ""
	}
	var parts []string
	for key, value := range pod.GetNodeSelector() {
		parts = append(parts, key+"="+value)
	}
	slices.Sort(parts)
	for _, t := range pod.GetNodeAffinity() {
		parts = append(parts, "term")
		for _, r := range slices.Concat(t.GetMatchExpressions(), t.GetMatchFields()) {
			parts = append(parts, r.GetKey(), r.GetOperator(), strings.Join(r.GetValues(), ","))
		}
	}
	return strings.Join(append(parts, pod.GetVolumeZones()...), "\x00")
}
