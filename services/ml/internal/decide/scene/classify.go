package spotoptimize

import (
	"fmt"
	"slices"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// Reasons of NodeVerdict, as the contract names them.
const (
	reasonReplaced      = "replaced"
	reasonSpotAlready   = "spot_already"
	reasonDoNotDisrupt  = "do_not_disrupt"
	reasonPodNo         = "pod_do_not_disrupt"
	reasonBudget        = "pdb_blocks"
	reasonUnmanaged     = "unmanaged_pod"
	reasonVolume        = "local_volume"
	reasonNoSaving      = "no_saving"
	reasonFloor         = "on_demand_floor"
	reasonSpotShare     = "spot_share"
	reasonNotReady      = "not_ready"
	reasonNotEC2        = "not_ec2"
	reasonCordoned      = "cordoned_by_other"
	reasonUnschedulable = "unschedulable_pod"
)

// classify finds the nodes that must stay, whatever it would save.
func (w *world) classify() {
	budgets := newBudgets(w.state.GetPodDisruptionBudgets())
	blind := len(w.state.GetPods()) == 0
	for _, n := range w.nodes {
		n.reason, n.detail = nodeStays(n.metric)
		if n.reason == "" && n.price == 0 {
			n.reason, n.detail = reasonNoSaving, "no price is known for "+n.metric.GetInstanceType()
		}
		if n.reason == "" && w.fresh(n.metric) {
			n.reason, n.detail = reasonNoSaving, "CloudOptim bought it only lately"
		}
		if n.reason == "" && blind && n.metric.GetPodCount() > 0 {
			n.reason, n.detail = reasonUnschedulable, fmt.Sprintf("its %d pods are not in the state", n.metric.GetPodCount())
		}
		for _, i := range n.moves {
			if n.reason != "" {
				break
			}
			n.reason, n.detail = podStays(w.book.Pod(i), budgets)
		}
	}
}

// settleFor is how long a node that CloudOptim bought is left alone, and its spare
// room not counted on. Plans carry insurance against the scheduler's freedom; once
// the pods have landed, the next decision would see that some of it was not
// needed, and move them again.
const settleFor = 6 * time.Hour

// fresh nodes carry the label that every plan gives its new nodes, and are young or
// of unknown age.
func (w *world) fresh(m *fleetv1.NodeMetric) bool {
	_, ours := m.GetLabels()["cloudoptim.io/capacity-type"]
	return ours && (m.GetCreatedAt() == nil || w.at.Sub(m.GetCreatedAt().AsTime()) < settleFor)
}

// settling says whether the cluster has just been changed.
func (w *world) settling() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return w.fresh(n.metric) })
}

// nodeStays says why a node itself must stay.
func nodeStays(m *fleetv1.NodeMetric) (reason, detail string) {
	switch {
	case m.GetInstanceType() == "":
		return reasonNotEC2, "the node has no instance type"
	case m.GetInstanceId() == "":
		return reasonNotEC2, "the node has no instance id, so it could not be terminated"
	case m.GetDoNotDisrupt():
		return reasonDoNotDisrupt, "an annotation of the node forbids it"
	case m.GetNodeType() == "spot":
		return reasonSpotAlready, ""
	case !m.GetReady():
		return reasonNotReady, ""
	case m.GetUnschedulable():
		return reasonCordoned, "someone else is at work on it"
	}
	return "", ""
}

// podStays says why a pod keeps its node.
func podStays(pod *fleetv1.Pod, budgets budgets) (reason, detail string) {
	name := pod.GetNamespace() + "/" + pod.GetName()
	if pod.GetDoNotDisrupt() != "" {
		return reasonPodNo, name + ": " + pod.GetDoNotDisrupt()
	}
	if pod.GetOwner().GetKind() == "" {
		return reasonUnmanaged, name
	}
	if why := budgets.blocks(pod); why != "" {
		return reasonBudget, why
	}
	for _, t := range slices.Concat(pod.GetPodAffinity(), pod.GetPodAntiAffinity()) {
		if t.GetNamespaceSelector() {
			return reasonUnschedulable, name + ": its affinity selects namespaces by label, which are not known"
		}
	}
	return "", ""
}

// budgets are the disruption budgets by namespace.
type budgets map[string][]*fleetv1.PodDisruptionBudget

func newBudgets(all []*fleetv1.PodDisruptionBudget) budgets {
	b := budgets{}
	for _, pdb := range all {
		b[pdb.GetNamespace()] = append(b[pdb.GetNamespace()], pdb)
	}
	return b
}

// blocks says which budget can never allow the eviction, empty if none. One that
// is only exhausted for now does not block: the drain waits for it.
func (b budgets) blocks(pod *fleetv1.Pod) string {
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
