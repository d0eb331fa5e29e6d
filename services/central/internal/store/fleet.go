package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const gib = 1 << 30

func (s *Store) nodes(ctx context.Context, cluster uuid.UUID) ([]*fleetv1.NodeMetric, error) {
	rows, err := s.q.NodeLive(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("reading nodes of cluster", cluster.String(), err)
	}
	nodes := make([]*fleetv1.NodeMetric, 0, len(rows))
	for _, row := range rows {
		node, err := nodeMessage(row)
		if err != nil {
			return nil, wrap("reading node", row.NodeName, err)
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

func nodeMessage(row centraldb.Node) (*fleetv1.NodeMetric, error) {
	node := &fleetv1.NodeMetric{}
	if err := decode(row.Detail, node); err != nil {
		return nil, err
	}
	node.HourlyPrice, node.OnDemandHourlyPrice = value(row.HourlyPrice), value(row.OnDemandHourlyPrice)
	return node, nil
}

func (s *Store) pods(ctx context.Context, cluster uuid.UUID) ([]*fleetv1.Pod, error) {
	rows, err := s.q.PodLive(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("reading pods of cluster", cluster.String(), err)
	}
	return podMessages(cluster, rows)
}

// HomelessPods are those that the scheduler has found no node for.
func (s *Store) HomelessPods(ctx context.Context, cluster uuid.UUID) ([]*fleetv1.Pod, error) {
	rows, err := s.q.PodHomeless(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("reading pods of cluster", cluster.String(), err)
	}
	return podMessages(cluster, rows)
}

func podMessages(cluster uuid.UUID, rows [][]byte) ([]*fleetv1.Pod, error) {
	pods := make([]*fleetv1.Pod, 0, len(rows))
	for _, raw := range rows {
		pod := &fleetv1.Pod{}
		if err := decode(raw, pod); err != nil {
			return nil, wrap("reading pods of cluster", cluster.String(), err)
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

func (s *Store) budgets(ctx context.Context, cluster uuid.UUID) ([]*fleetv1.PodDisruptionBudget, error) {
	rows, err := s.q.BudgetLive(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("reading budgets of cluster", cluster.String(), err)
	}
	budgets := make([]*fleetv1.PodDisruptionBudget, 0, len(rows))
	for _, raw := range rows {
		budget := &fleetv1.PodDisruptionBudget{}
		if err := decode(raw, budget); err != nil {
			return nil, wrap("reading budgets of cluster", cluster.String(), err)
		}
		budgets = append(budgets, budget)
	}
	return budgets, nil
}

// total fills in what follows from the nodes and pods. What is allocated is
// summed from the pods: the agents send a node when it changes, not when its
// pods do.
func total(state *fleetv1.ClusterState) {
	byName := make(map[string]*fleetv1.NodeMetric, len(state.Nodes))
	for _, node := range state.Nodes {
		node.CpuAllocated, node.MemoryAllocatedGb, node.PodCount = 0, 0, 0
		byName[node.NodeName] = node
		state.TotalNodes++
		if node.NodeType == "spot" {
			state.SpotNodes++
		} else {
			state.OnDemandNodes++
		}
		state.TotalCpuCores += node.CpuAllocatable
		state.TotalMemoryGb += node.MemoryAllocatableGb
		state.CurrentCostPerHour += node.HourlyPrice
	}
	for _, pod := range state.Pods {
		state.TotalPods++
		switch pod.Phase {
		case "Running":
			state.RunningPods++
		case "Pending":
			state.PendingPods++
		}
		node := byName[pod.NodeName]
		if node == nil {
			continue
		}
		cpu, memory := float64(pod.GetRequests().GetCpuMillicores())/1000, float64(pod.GetRequests().GetMemoryBytes())/gib
		node.CpuAllocated += cpu
		node.MemoryAllocatedGb += memory
		node.PodCount++
		state.AllocatedCpuCores += cpu
		state.AllocatedMemoryGb += memory
	}
}

// Fleet is a change of what is known of a cluster.
type Fleet struct {
	Nodes   []*fleetv1.NodeMetric
	Pods    []*fleetv1.Pod
	Budgets []*fleetv1.PodDisruptionBudget
	// Gone, by node name, pod UID and budget UID; ignored when Complete.
	GoneNodes, GonePods, GoneBudgets []string
	// Complete: what is not named is gone.
	Complete bool
}

// put writes the change; the caller holds the cluster's row.
func (s *Store) put(ctx context.Context, cluster uuid.UUID, change Fleet) error {
	if err := s.putNodes(ctx, cluster, change); err != nil {
		return wrap("writing nodes of cluster", cluster.String(), err)
	}
	if err := s.putPods(ctx, cluster, change); err != nil {
		return wrap("writing pods of cluster", cluster.String(), err)
	}
	if err := s.putBudgets(ctx, cluster, change); err != nil {
		return wrap("writing budgets of cluster", cluster.String(), err)
	}
	return wrap("counting cluster", cluster.String(), s.q.ClusterCounts(ctx, s.db, cluster))
}

func (s *Store) putNodes(ctx context.Context, cluster uuid.UUID, change Fleet) error {
	rows := centraldb.NodeUpsertManyParams{ClusterID: cluster}
	for _, node := range lastOf(change.Nodes, (*fleetv1.NodeMetric).GetNodeName) {
		detail, err := toJSON.Marshal(node)
		if err != nil {
			return err
		}
		rows.NodeNames = append(rows.NodeNames, node.NodeName)
		rows.InstanceIds = append(rows.InstanceIds, node.InstanceId)
		rows.InstanceTypes = append(rows.InstanceTypes, node.InstanceType)
		rows.Zones = append(rows.Zones, node.AvailabilityZone)
		rows.NodeTypes = append(rows.NodeTypes, node.NodeType)
		rows.Cpus = append(rows.Cpus, node.CpuAllocatable)
		rows.Memories = append(rows.Memories, node.MemoryAllocatableGb)
		rows.Readies = append(rows.Readies, node.Ready)
		rows.Details = append(rows.Details, string(detail))
	}
	if len(rows.NodeNames) > 0 {
		if err := s.q.NodeUpsertMany(ctx, s.db, rows); err != nil {
			return err
		}
	}
	if change.Complete {
		return s.q.NodeTerminateAbsent(ctx, s.db, centraldb.NodeTerminateAbsentParams{ClusterID: cluster, NodeNames: orEmpty(rows.NodeNames)})
	}
	if len(change.GoneNodes) == 0 {
		return nil
	}
	return s.q.NodeTerminateMany(ctx, s.db, centraldb.NodeTerminateManyParams{ClusterID: cluster, NodeNames: change.GoneNodes})
}

func (s *Store) putPods(ctx context.Context, cluster uuid.UUID, change Fleet) error {
	rows := centraldb.PodUpsertManyParams{ClusterID: cluster}
	for _, pod := range lastOf(change.Pods, (*fleetv1.Pod).GetUid) {
		detail, err := toJSON.Marshal(pod)
		if err != nil {
			return err
		}
		rows.PodUids = append(rows.PodUids, pod.Uid)
		rows.Namespaces = append(rows.Namespaces, pod.Namespace)
		rows.PodNames = append(rows.PodNames, pod.Name)
		rows.NodeNames = append(rows.NodeNames, pod.NodeName)
		rows.Phases = append(rows.Phases, pod.Phase)
		rows.Readies = append(rows.Readies, pod.Ready)
		rows.Details = append(rows.Details, string(detail))
	}
	if len(rows.PodUids) > 0 {
		if err := s.q.PodUpsertMany(ctx, s.db, rows); err != nil {
			return err
		}
	}
	if change.Complete {
		return s.q.PodDeleteAbsent(ctx, s.db, centraldb.PodDeleteAbsentParams{ClusterID: cluster, PodUids: orEmpty(rows.PodUids)})
	}
	if len(change.GonePods) == 0 {
		return nil
	}
	return s.q.PodDeleteMany(ctx, s.db, centraldb.PodDeleteManyParams{ClusterID: cluster, PodUids: change.GonePods})
}

func (s *Store) putBudgets(ctx context.Context, cluster uuid.UUID, change Fleet) error {
	rows := centraldb.BudgetUpsertManyParams{ClusterID: cluster}
	for _, budget := range lastOf(change.Budgets, (*fleetv1.PodDisruptionBudget).GetUid) {
		detail, err := toJSON.Marshal(budget)
		if err != nil {
			return err
		}
		rows.BudgetUids = append(rows.BudgetUids, budget.Uid)
		rows.Details = append(rows.Details, string(detail))
	}
	if len(rows.BudgetUids) > 0 {
		if err := s.q.BudgetUpsertMany(ctx, s.db, rows); err != nil {
			return err
		}
	}
	if change.Complete {
		return s.q.BudgetDeleteAbsent(ctx, s.db, centraldb.BudgetDeleteAbsentParams{ClusterID: cluster, BudgetUids: orEmpty(rows.BudgetUids)})
	}
	if len(change.GoneBudgets) == 0 {
		return nil
	}
	return s.q.BudgetDeleteMany(ctx, s.db, centraldb.BudgetDeleteManyParams{ClusterID: cluster, BudgetUids: change.GoneBudgets})
}

// lastOf keeps the last of those with the same key: one statement may write a row only once.
func lastOf[T any](items []T, key func(T) string) []T {
	at := make(map[string]int, len(items))
	out := make([]T, 0, len(items))
	for _, item := range items {
		if i, seen := at[key(item)]; seen {
			out[i] = item
			continue
		}
		at[key(item)] = len(out)
		out = append(out, item)
	}
	return out
}

// orEmpty: a null array would make NOT … = ANY null, and no row gone.
func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
