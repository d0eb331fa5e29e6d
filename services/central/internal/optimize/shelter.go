package optimize

import (
	"context"
	"fmt"
	"slices"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// homelessAfter is how long the scheduler gets to place an evicted pod.
	homelessAfter = 8 * time.Second
	// shelterEvery gives it the same time on a node that was given back.
	shelterEvery = homelessAfter
)

// unplaced are pods that lost their place in this story and have no other yet:
// what their controllers made for those that were evicted.
func (r *run) unplaced(ctx context.Context, nodes []store.Replaced) ([]*fleetv1.Pod, error) {
	pods, err := r.Store.HomelessPods(ctx, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	before, moved := r.homelessBefore(), r.movedOwners(nodes)
	return slices.DeleteFunc(pods, func(pod *fleetv1.Pod) bool {
		return before[pod.GetUid()] || pod.GetTerminating() || !moved[pod.GetOwner().GetUid()]
	}), nil
}

// homeless are those that the scheduler has had time to place. It spreads pods
// as it likes, so a plan that fits on paper may leave one over.
func (r *run) homeless(ctx context.Context, nodes []store.Replaced) ([]*fleetv1.Pod, error) {
	pods, err := r.unplaced(ctx, nodes)
	return slices.DeleteFunc(pods, func(pod *fleetv1.Pod) bool {
		return time.Since(pod.GetCreatedAt().AsTime()) <= homelessAfter
	}), err
}

// movedOwners are the controllers with pods on the nodes to take away. A pod of
// another that finds no place is not this story's doing, and must not hold it.
func (r *run) movedOwners(nodes []store.Replaced) map[string]bool {
	leaving := map[string]bool{}
	for _, node := range nodes {
		leaving[node.Node] = true
	}
	owners := map[string]bool{}
	for _, pod := range r.story.Request.GetCurrentState().GetPods() {
		if uid := pod.GetOwner().GetUid(); uid != "" && leaving[pod.GetNodeName()] {
			owners[uid] = true
		}
	}
	return owners
}

// homelessBefore are the pods that had no place when the story began.
func (r *run) homelessBefore() map[string]bool {
	before := map[string]bool{}
	for _, pod := range r.story.Request.GetCurrentState().GetPods() {
		if pod.GetPhase() == "Pending" && pod.GetNodeName() == "" {
			before[pod.GetUid()] = true
		}
	}
	return before
}

// shelter starts no more drains and gives old nodes back to the scheduler, the
// cheapest that has room first, until every pod has a place: no saving is worth
// a pod that does not run.
func (r *run) shelter(ctx context.Context, homeless []*fleetv1.Pod, nodes []store.Replaced) (outcome, error) {
	pod := homeless[0]
	wait := waiting(500*time.Millisecond, "%d pods have no place, e.g. %s/%s", len(homeless), pod.GetNamespace(), pod.GetName())
	if last, ok := r.story.Steps[r.story.Step-1].Detail["sheltered_at"].(float64); ok && time.Since(time.Unix(int64(last), 0)) < shelterEvery {
		return wait, nil
	}
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return outcome{}, err
	}
	node := roomFor(pod, nodes, state.GetNodes(), r.hosted(pod, state))
	if node == nil {
		wait.trouble += "; no old node has room for it"
		return wait, nil
	}
	why := fmt.Sprintf("pod %s/%s found no other place", pod.GetNamespace(), pod.GetName())
	r.Log.WarnContext(ctx, "giving a node back", "optimization_id", r.story.ID, "node", node.Node, "reason", why)
	wait.detail = map[string]any{"sheltered_at": time.Now().Unix()}
	return wait, r.keep(ctx, *node, why)
}

// hosted are the nodes that pods of the same controller were on when the story
// began: they fit in ways that sizes do not tell. They count 1, and 2 in a zone
// where no such pod is now, for the pod may be spread over zones.
func (r *run) hosted(pod *fleetv1.Pod, now *fleetv1.ClusterState) map[string]int {
	zones := map[string]string{}
	for _, node := range now.GetNodes() {
		zones[node.GetNodeName()] = node.GetAvailabilityZone()
	}
	taken := map[string]bool{}
	for _, other := range now.GetPods() {
		if kin(other, pod) && other.GetNodeName() != "" && !other.GetTerminating() {
			taken[zones[other.GetNodeName()]] = true
		}
	}
	nodes := map[string]int{}
	for _, other := range r.story.Request.GetCurrentState().GetPods() {
		if !kin(other, pod) {
			continue
		}
		nodes[other.GetNodeName()] = 1
		if !taken[zones[other.GetNodeName()]] {
			nodes[other.GetNodeName()] = 2
		}
	}
	return nodes
}

// kin are pods of one controller.
func kin(a, b *fleetv1.Pod) bool {
	return a.GetOwner().GetUid() != "" && a.GetOwner().GetUid() == b.GetOwner().GetUid()
}

// roomFor is the node to give back for the pod: of those that are not being
// drained now and have room, one that hosted its kind before the others, then
// the cheapest.
func roomFor(pod *fleetv1.Pod, nodes []store.Replaced, known []*fleetv1.NodeMetric, hosted map[string]int) *store.Replaced {
	free := map[string]*fleetv1.NodeMetric{}
	for _, node := range known {
		free[node.GetNodeName()] = node
	}
	cpu, memory := float64(pod.GetRequests().GetCpuMillicores())/1000, float64(pod.GetRequests().GetMemoryBytes())/(1<<30)
	var best *store.Replaced
	for i := range nodes {
		node := &nodes[i]
		metric := free[node.Node]
		if metric == nil || (node.Status != "drained" && node.Status != "pending") {
			continue
		}
		fits := metric.GetCpuAllocatable()-metric.GetCpuAllocated() >= cpu && metric.GetMemoryAllocatableGb()-metric.GetMemoryAllocatedGb() >= memory
		if fits && (best == nil || better(node, best, hosted)) {
			best = node
		}
	}
	return best
}

func better(a, b *store.Replaced, hosted map[string]int) bool {
	if hosted[a.Node] != hosted[b.Node] {
		return hosted[a.Node] > hosted[b.Node]
	}
	return a.HourlyPrice < b.HourlyPrice
}
