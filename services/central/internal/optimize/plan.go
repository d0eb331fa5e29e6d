package optimize

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// summaryOf a plan: before, after and what it touches, by the state it was made from.
func summaryOf(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse, replaced []store.Replaced) *adminv1.PlanSummary {
	plan := &adminv1.PlanSummary{
		NodesBefore: state.GetTotalNodes(), SpotNodesBefore: state.GetSpotNodes(), CostBeforePerHour: state.GetCurrentCostPerHour(),
		NodesDrained: int32(len(replaced)),
	}
	leaving := map[string]bool{}
	for _, node := range replaced {
		leaving[node.Node] = true
	}
	plan.NodesAfter, plan.SpotNodesAfter, plan.CostAfterPerHour = plan.NodesBefore, plan.SpotNodesBefore, plan.CostBeforePerHour
	for _, node := range state.GetNodes() {
		if !leaving[node.GetNodeName()] {
			continue
		}
		plan.NodesAfter--
		plan.CostAfterPerHour -= node.GetHourlyPrice()
		if node.GetNodeType() == "spot" {
			plan.SpotNodesAfter--
		}
	}
	for _, rec := range decision.GetRecommendations() {
		plan.NodesLaunched += rec.GetNodeCount()
		plan.CostAfterPerHour += float64(rec.GetNodeCount()) * rec.GetHourlyPrice()
		if rec.GetNodeType() == "spot" {
			plan.SpotNodesAfter += rec.GetNodeCount()
		}
	}
	plan.NodesAfter += plan.NodesLaunched
	plan.CostAfterPerHour = max(0, plan.CostAfterPerHour)
	touches(plan, state, leaving)
	plan.BlastRadius = blastRadius(plan)
	return plan
}

// touches counts the pods that are moved, and what they belong to.
func touches(plan *adminv1.PlanSummary, state *fleetv1.ClusterState, leaving map[string]bool) {
	namespaces, owners, budgets := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, pod := range state.GetPods() {
		if !leaving[pod.GetNodeName()] || !pods.Movable(pod) {
			continue
		}
		plan.PodsMoved++
		namespaces[pod.GetNamespace()] = true
		if uid := pod.GetOwner().GetUid(); uid != "" {
			owners[uid] = true
		}
		for _, b := range state.GetPodDisruptionBudgets() {
			if b.GetNamespace() == pod.GetNamespace() && feasible.Selects(b.GetSelector(), pod.GetLabels()) {
				budgets[b.GetUid()] = true
			}
		}
	}
	plan.WorkloadsMoved, plan.Budgets = int32(len(owners)), int32(len(budgets))
	plan.Namespaces = slices.Sorted(maps.Keys(namespaces))
}

func blastRadius(plan *adminv1.PlanSummary) string {
	if plan.GetNodesDrained() == 0 {
		return "changes nothing"
	}
	text := fmt.Sprintf("drains %s, moves %s of %s", many(plan.GetNodesDrained(), "node"), many(plan.GetPodsMoved(), "pod"),
		many(plan.GetWorkloadsMoved(), "workload"))
	if n := len(plan.GetNamespaces()); n > 0 {
		text += " in " + many(int32(n), "namespace")
	}
	if n := plan.GetNodesLaunched(); n > 0 {
		text += ", launches " + many(n, "node")
	}
	return text
}

func many(n int32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// contentOf a plan is the same for plans that do the same.
func contentOf(decision *mlv1.DecisionResponse, replaced []store.Replaced) string {
	var parts []string
	for _, node := range replaced {
		parts = append(parts, "-"+node.Node+"/"+node.InstanceID)
	}
	for _, rec := range decision.GetRecommendations() {
		parts = append(parts, fmt.Sprintf("+%d %s/%s/%s", rec.GetNodeCount(), rec.GetInstanceType(), rec.GetAvailabilityZone(), rec.GetNodeType()))
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// pin keeps the pods of namespaces that go less far than their cluster where they are.
func pin(state *fleetv1.ClusterState, policy *guard.Policy, byItself bool) {
	for _, pod := range state.GetPods() {
		if pod.GetDoNotDisrupt() == "" && policy.Pinned(pod.GetNamespace(), byItself) {
			mode, _ := policy.ModeIn(pod.GetNamespace())
			pod.DoNotDisrupt = "policy: mode " + mode + " in namespace " + pod.GetNamespace()
		}
	}
}

// byItself tells whether the plan runs without that a person lets it.
func (r *run) byItself(policy *guard.Policy) bool {
	return policy.Mode() == guard.Automatic && r.story.Approval != "approved"
}
