package optimize

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// fallbackIndex is added to the index of a spot launch that found no capacity,
// for the on-demand launch that takes its place.
const fallbackIndex = 1000

var noCustomer = uuid.NullUUID{}

// launch launches what is not launched yet, one EC2 call at a time, and notes each.
func (r *run) launch(ctx context.Context) (outcome, error) {
	if stop, err := r.begin(ctx); err != nil || stop != nil {
		return *orDone(stop), err
	}
	launches, err := r.Store.Launches(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	for _, l := range launches {
		if l.Status != "pending" {
			continue
		}
		if r.account.SubnetIDs[l.Zone] == "" {
			return failed("the cluster has no subnet in zone %s", l.Zone), nil
		}
		if held, err := r.held(ctx); err != nil || held != nil {
			return holdingOr(held), err
		}
		failure, err := r.launchOne(ctx, l)
		if err != nil || failure != "" {
			return outcome{failure: failure}, err
		}
	}
	return r.launchesDone(ctx)
}

// launchOne launches l; without capacity it writes the on-demand launch that takes its place.
func (r *run) launchOne(ctx context.Context, l store.Launch) (failure string, err error) {
	ids, err := r.Cloud.Launch(ctx, r.aws(), cloud.Request{
		ClientToken: l.ClientToken, LaunchTemplateID: r.account.LaunchTemplateID, SubnetID: r.account.SubnetIDs[l.Zone],
		InstanceType: l.InstanceType, Count: l.Count, Spot: l.NodeType == "spot",
		Tags: map[string]string{
			"cloudoptim:cluster-id": r.story.Cluster.String(), "cloudoptim:optimization-id": r.story.ID.String(),
		},
	})
	var capacity *cloud.CapacityError
	switch {
	case err == nil:
		l.Status, l.InstanceIDs, l.Error = "launched", ids, ""
		return "", r.noteLaunch(ctx, l)
	case !errors.As(err, &capacity):
		return "", err
	case l.NodeType != "spot":
		l.Status, l.Error = "failed", capacity.Code
		return "no capacity for " + l.InstanceType + " in " + l.Zone + ", neither spot nor on demand: " + capacity.Code, r.noteLaunch(ctx, l)
	}
	r.Log.WarnContext(ctx, "no spot capacity, falling back to on demand", "optimization_id", r.story.ID,
		"instance_type", l.InstanceType, "zone", l.Zone, "code", capacity.Code)
	fallback := l
	fallback.Index, fallback.NodeType, fallback.HourlyPrice = l.Index+fallbackIndex, "on-demand", l.OnDemandPrice
	fallback.ClientToken = r.token(fallback.Index)
	l.Status, l.Error = "failed", capacity.Code
	return "", r.Store.InTx(ctx, func(tx *store.Store) error {
		if err := r.setLaunch(ctx, tx, l); err != nil {
			return err
		}
		return tx.AddLaunches(ctx, r.story.ID, []store.Launch{fallback})
	})
}

func (r *run) launchesDone(ctx context.Context) (outcome, error) {
	launches, err := r.Store.Launches(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	var ids []string
	fallbacks := 0
	for _, l := range launches {
		if l.Status == "pending" { // a fallback was written just now
			return waiting(100*time.Millisecond, "falling back to on demand"), nil
		}
		if l.Index >= fallbackIndex {
			fallbacks++
		}
		ids = append(ids, l.InstanceIDs...)
	}
	return outcome{detail: map[string]any{"instances": ids, "on_demand_fallbacks": fallbacks}}, nil
}

// nodesReady waits until every launched instance is a Ready node.
func (r *run) nodesReady(ctx context.Context) (outcome, error) {
	ids, err := r.launchedIDs(ctx)
	if err != nil {
		return outcome{}, err
	}
	ready, err := r.readyNodes(ctx)
	if err != nil {
		return outcome{}, err
	}
	if len(ready) == len(ids) {
		return outcome{detail: map[string]any{"nodes": len(ready)}}, nil
	}
	if r.age() > 30*time.Second { // by now it is worth asking EC2
		lost, err := r.lost(ctx, ids)
		if err != nil {
			return outcome{}, err
		}
		if len(lost) > 0 {
			return failed("%d of %d launched instances were terminated before they joined: %v", len(lost), len(ids), lost), nil
		}
	}
	return waiting(500*time.Millisecond, "%d of %d launched nodes are ready", len(ready), len(ids)), nil
}

func (r *run) launchedIDs(ctx context.Context) ([]string, error) {
	launches, err := r.Store.Launches(ctx, r.story.ID)
	var ids []string
	for _, l := range launches {
		ids = append(ids, l.InstanceIDs...)
	}
	return ids, err
}

func (r *run) readyNodes(ctx context.Context) ([]store.LaunchedNode, error) {
	nodes, err := r.Store.LaunchedNodes(ctx, r.story.ID)
	var ready []store.LaunchedNode
	for _, node := range nodes {
		if node.Ready {
			ready = append(ready, node)
		}
	}
	return ready, err
}

// lost are the instances that EC2 has ended or is ending.
func (r *run) lost(ctx context.Context, ids []string) ([]string, error) {
	states, err := r.Cloud.States(ctx, r.aws(), ids)
	var lost []string
	for _, id := range ids {
		if state := states[id]; state == "terminated" || state == "shutting-down" || state == "stopped" || state == "stopping" {
			lost = append(lost, id)
		}
	}
	return lost, err
}

// preferSpot leaves new on-demand nodes to the pods that need them: the others go
// there only when the spot nodes are full. ml counts on it.
var preferSpot = &fleetv1.Taint{Key: "cloudoptim.io/prefer-spot", Value: "true", Effect: "PreferNoSchedule"}

// label marks the new nodes as CloudOptim's.
func (r *run) label(ctx context.Context) (outcome, error) {
	nodes, err := r.readyNodes(ctx)
	if err != nil {
		return outcome{}, err
	}
	types, err := r.nodeTypes(ctx)
	if err != nil {
		return outcome{}, err
	}
	mixed := slices.Contains(slices.Collect(maps.Values(types)), "spot")
	var work []work
	for _, node := range nodes {
		work = append(work, r.work("label_node", node.Name, 3, 5*time.Minute, &fleetv1.LabelNodeParameters{
			NodeName: node.Name, InstanceId: node.InstanceID, Labels: r.labels(types[node.InstanceID]),
		}))
		if types[node.InstanceID] == "on-demand" && mixed {
			work = append(work, r.work("taint_node", node.Name, 3, 5*time.Minute, &fleetv1.TaintNodeParameters{
				NodeName: node.Name, InstanceId: node.InstanceID, Taints: []*fleetv1.Taint{preferSpot},
			}))
		}
	}
	done, err := r.perform(ctx, work)
	if err != nil {
		return outcome{}, err
	}
	if done.held != nil {
		return holding(done.held), nil
	}
	if bad := done.failures(); len(bad) > 0 {
		return failed("labelling nodes: %s", bad[0]), nil
	}
	if !done.all() {
		return waiting(300*time.Millisecond, "%d of %d nodes are labelled", done.ended(), len(work)), nil
	}
	return outcome{detail: map[string]any{"nodes": len(work)}}, nil
}

// labels of a new node. Pods choose between spot and on demand by EKS's and
// Karpenter's labels, which nobody else puts on nodes that we launch; ml counts on
// them.
func (r *run) labels(nodeType string) map[string]string {
	eks := map[string]string{"spot": "SPOT", "on-demand": "ON_DEMAND"}
	return map[string]string{
		"cloudoptim.io/capacity-type": nodeType, "cloudoptim.io/managed": "true", "cloudoptim.io/optimization-id": r.story.ID.String(),
		"eks.amazonaws.com/capacityType": eks[nodeType], "karpenter.sh/capacity-type": nodeType,
	}
}

// nodeTypes by instance id.
func (r *run) nodeTypes(ctx context.Context) (map[string]string, error) {
	launches, err := r.Store.Launches(ctx, r.story.ID)
	types := map[string]string{}
	for _, l := range launches {
		for _, id := range l.InstanceIDs {
			types[id] = l.NodeType
		}
	}
	return types, err
}
