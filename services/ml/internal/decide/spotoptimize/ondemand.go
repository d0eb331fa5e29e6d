package spotoptimize

import (
	"fmt"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// reasonOnDemandPods keeps a node because of a rule on which pods stay on demand.
const reasonOnDemandPods = "on_demand_pods"

// keepOnDemand keeps the nodes of pods that must stay on on-demand nodes and that the
// scheduler could put on a spot node if they were moved: a rule of the request does
// not bind the scheduler, the pod's own selectors do.
func (q *problem) keepOnDemand() {
	if len(q.l.onDemand) == 0 {
		return
	}
	loose := map[int]bool{} // by class of pod
	for _, n := range q.w.Nodes {
		for _, i := range n.Moves {
			if n.Reason != "" {
				break
			}
			rule := ruleFor(q.w.Book.Pod(i), q.l.onDemand)
			if rule < 0 {
				continue
			}
			class := q.w.Book.Class(i)
			if _, known := loose[class]; !known {
				loose[class] = q.spotAdmits(q.w.Book.Pod(i))
			}
			if loose[class] {
				pod := q.w.Book.Pod(i)
				n.Reason, n.Detail = reasonOnDemandPods, fmt.Sprintf("%s/%s, by on_demand_pods[%d]", pod.GetNamespace(), pod.GetName(), rule)
			}
		}
	}
}

// spotAdmits says whether any spot node, there already or for sale, would take the pod.
func (q *problem) spotAdmits(pod *fleetv1.Pod) bool {
	return slices.ContainsFunc(q.columns, func(c *column) bool { return c.AsSpot && fit.Admits(pod, &c.Blank) }) ||
		slices.ContainsFunc(q.w.Nodes, func(n *node) bool {
			open := n.Place
			open.Closed = false // for now: it will not stay cordoned, or fresh
			return n.Spot && fit.Admits(pod, &open)
		})
}

// ruleFor the pod, by index; -1 if none means it.
func ruleFor(pod *fleetv1.Pod, rules []*mlv1.OnDemandPods) int {
	return slices.IndexFunc(rules, func(rule *mlv1.OnDemandPods) bool { return means(rule, pod) })
}

func means(rule *mlv1.OnDemandPods, pod *fleetv1.Pod) bool {
	if len(rule.GetNamespaces()) > 0 && !slices.Contains(rule.GetNamespaces(), pod.GetNamespace()) {
		return false
	}
	if len(rule.GetOwnerKinds()) > 0 && !slices.Contains(rule.GetOwnerKinds(), pod.GetOwner().GetKind()) {
		return false
	}
	if rule.MinPriority != nil && pod.GetPriority() < rule.GetMinPriority() {
		return false
	}
	for key, value := range rule.GetMatchLabels() {
		if got, ok := pod.GetLabels()[key]; !ok || got != value {
			return false
		}
	}
	return true
}
