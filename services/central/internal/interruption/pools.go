package interruption

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// askMLWithin is all the time that ml gets: after it, the type of the
// interrupted node is bought on demand.
const askMLWithin = 300 * time.Millisecond

// What a node keeps for itself before pods get any: ml counts in whole machines.
const keptCPU, keptMemory = 0.1, 0.6

// pools to try, the best first: ml's, then on demand what the cluster has of
// nodes that are large enough, first in the zone of the interrupted one, where
// its volumes are. Those that refused lately are left out.
func (s *Service) pools(ctx context.Context, i *store.Interruption, owner *store.Account, needed need) ([]store.Pool, error) {
	refused, err := s.Store.RefusedPools(ctx, owner.RoleARN, owner.Region)
	if err != nil {
		return nil, err
	}
	// The pool that takes the instance back may not be written down yet.
	if i.NodeType == "spot" {
		refused = append(refused, store.Pool{InstanceType: i.InstanceType, Zone: i.Zone, NodeType: "spot"})
	}
	state, err := s.glances.state(ctx, i.Cluster)
	if err != nil {
		return nil, err
	}
	var node *fleetv1.NodeMetric
	for _, one := range state.GetNodes() {
		if one.GetInstanceId() == i.InstanceID {
			node = one
		}
	}
	all := s.ask(ctx, i, owner, needed, question{node: node, refused: refused, state: state})
	types := typesThatFit(i, node, state.GetNodes(), needed)
	for _, zone := range zonesFrom(i.Zone, owner.SubnetIDs) {
		for _, kind := range types {
			all = append(all, store.Pool{InstanceType: kind, Zone: zone, NodeType: "on-demand"})
		}
	}
	var out []store.Pool
	for _, pool := range all {
		if owner.SubnetIDs[pool.Zone] != "" && !slices.Contains(refused, pool) && !slices.Contains(out, pool) {
			out = append(out, pool)
		}
	}
	return out, nil
}

// question is what ml is asked with.
type question struct {
	node    *fleetv1.NodeMetric
	refused []store.Pool
	state   *fleetv1.ClusterState
}

// ask asks ml for one node in the zone of the interrupted one. Its silence is no failure.
func (s *Service) ask(ctx context.Context, i *store.Interruption, owner *store.Account, needed need, q question) []store.Pool {
	zone := i.Zone
	if owner.SubnetIDs[zone] == "" {
		zone = ""
	}
	asking, cancel := context.WithTimeout(ctx, askMLWithin)
	defer cancel()
	requirements, err := structpb.NewStruct(map[string]any{
		"cpu": needed.cpu*1.05 + keptCPU, "memory": needed.memory*1.08 + keptMemory, "urgent": true,
	})
	if err != nil {
		return nil
	}
	resp, err := s.Decisions.SpotOptimize(asking, &mlv1.SpotOptimizeRequest{Request: &mlv1.DecisionRequest{
		RequestId: i.ID.String(), ClusterId: i.Cluster.String(), Timestamp: timestamppb.New(i.OpenedAt), DecisionType: "spot_optimize",
		// Without nodes: the answer is for the requirements alone, and in time.
		CurrentState: &fleetv1.ClusterState{
			ClusterId: i.Cluster.String(), ClusterName: q.state.GetClusterName(), Region: q.state.GetRegion(), LastUpdated: q.state.GetLastUpdated(),
			HealthStatus: q.state.GetHealthStatus(),
		},
		Requirements: requirements, Constraints: constraints(zone, owner, q),
	}})
	if err != nil {
		s.Log.WarnContext(ctx, "asking ml for a replacement; falling back to on demand", "interruption_id", i.ID, "error", err)
		return nil
	}
	var out []store.Pool
	for _, rec := range resp.GetDecision().GetRecommendations() {
		if rec.GetNodeCount() == 1 && rec.GetInstanceType() != "" && rec.GetNodeType() != "" {
			out = append(out, store.Pool{InstanceType: rec.GetInstanceType(), Zone: orElse(rec.GetAvailabilityZone(), zone), NodeType: rec.GetNodeType()})
		}
	}
	return out
}

func constraints(zone string, owner *store.Account, q question) *structpb.Struct {
	zones := []any{zone}
	if zone == "" {
		zones = nil
		for _, z := range slices.Sorted(maps.Keys(owner.SubnetIDs)) {
			zones = append(zones, z)
		}
	}
	fields := map[string]any{"zones": zones, "max_nodes": 1.0}
	if arch := q.node.GetArchitecture(); arch != "" {
		fields["architectures"] = []any{arch}
	}
	var excluded []any
	for _, pool := range q.refused {
		excluded = append(excluded, pool.String())
	}
	if len(excluded) > 0 {
		fields["excluded_pools"] = excluded
	}
	out, err := structpb.NewStruct(fields)
	if err != nil { // numbers, texts and lists of them: it cannot fail
		return nil
	}
	return out
}

// typesThatFit are the interrupted node's own type, and then those of the
// cluster's nodes that are large enough, the smallest first.
func typesThatFit(i *store.Interruption, node *fleetv1.NodeMetric, nodes []*fleetv1.NodeMetric, needed need) []string {
	sorted := slices.SortedFunc(slices.Values(nodes), func(a, b *fleetv1.NodeMetric) int {
		return cmp.Or(cmp.Compare(a.GetCpuAllocatable(), b.GetCpuAllocatable()), cmp.Compare(a.GetMemoryAllocatableGb(), b.GetMemoryAllocatableGb()),
			cmp.Compare(a.GetInstanceType(), b.GetInstanceType()))
	})
	var out []string
	if i.InstanceType != "" {
		out = append(out, i.InstanceType)
	}
	for _, one := range sorted {
		fits := one.GetCpuAllocatable() >= needed.cpu && one.GetMemoryAllocatableGb() >= needed.memory
		if kind := one.GetInstanceType(); kind != "" && fits && (node == nil || one.GetArchitecture() == node.GetArchitecture()) && !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out
}

// zonesFrom has the zone itself first.
func zonesFrom(zone string, subnets map[string]string) []string {
	out := slices.Sorted(maps.Keys(subnets))
	slices.SortStableFunc(out, func(a, b string) int {
		switch zone {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return out
}
