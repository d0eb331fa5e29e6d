package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// rollbackStep of an optimization ends what it launched.
const rollbackStep = 9

// Owner is the cluster that an instance belongs to.
type Owner struct {
	Cluster, Customer   uuid.UUID
	ClusterName, Region string
	InstanceID          string
	// Node is empty for one that we launched and that has not joined.
	Node, InstanceType, Zone, NodeType string
	JoinedAt                           time.Time
	// Gone: the node is no more.
	Gone bool
}

// Scope is whose instances are looked for: some customers', or one cluster's.
type Scope struct {
	Customers []uuid.UUID
	Cluster   uuid.NullUUID
}

// Owners of instances that are or were nodes; of a name used again, the last one
// in the list of an instance is the one that counts.
func (s *Store) Owners(ctx context.Context, scope Scope, ids []string) ([]Owner, error) {
	rows, err := s.q.InstanceOwners(ctx, s.db, centraldb.InstanceOwnersParams{
		InstanceIds: ids, CustomerIds: scope.Customers, ClusterID: scope.Cluster,
	})
	out := make([]Owner, 0, len(rows))
	for _, row := range rows {
		out = append(out, Owner{
			Cluster: row.ClusterID, Customer: row.CustomerID, ClusterName: row.ClusterName, Region: row.Region,
			InstanceID: row.InstanceID, Node: row.NodeName, InstanceType: row.InstanceType, Zone: row.AvailabilityZone,
			NodeType: row.NodeType, JoinedAt: row.CreatedAt, Gone: row.TerminatedAt != nil,
		})
	}
	return out, wrap("looking for", "instances", err)
}

// Launchers are the clusters for which we launched instances, joined or not.
func (s *Store) Launchers(ctx context.Context, scope Scope, ids []string) ([]Owner, error) {
	rows, err := s.q.InstanceLaunchers(ctx, s.db, centraldb.InstanceLaunchersParams{
		InstanceIds: ids, CustomerIds: scope.Customers, ClusterID: scope.Cluster,
	})
	out := make([]Owner, 0, len(rows))
	for _, row := range rows {
		out = append(out, Owner{
			Cluster: row.ClusterID, Customer: row.CustomerID, ClusterName: row.ClusterName, Region: row.Region, InstanceID: row.InstanceID,
		})
	}
	return out, wrap("looking for", "launched instances", err)
}

// EndedByUs are those of the instances, by cluster, that an optimization takes away.
func (s *Store) EndedByUs(ctx context.Context, ids []string) (map[uuid.UUID][]string, error) {
	rows, err := s.q.InstanceEndings(ctx, s.db, centraldb.InstanceEndingsParams{InstanceIds: ids, RollbackStep: rollbackStep})
	out := map[uuid.UUID][]string{}
	for _, row := range rows {
		out[row.ClusterID] = append(out[row.ClusterID], row.InstanceID)
	}
	return out, wrap("looking for", "instances that end", err)
}

// PodsOn are the pods of a node.
func (s *Store) PodsOn(ctx context.Context, cluster uuid.UUID, node string) ([]*fleetv1.Pod, error) {
	rows, err := s.q.PodsOnNode(ctx, s.db, centraldb.PodsOnNodeParams{ClusterID: cluster, NodeName: node})
	if err != nil {
		return nil, wrap("reading pods of node", node, err)
	}
	return podMessages(cluster, rows)
}

// NodeOf is the live node of an instance; nil: it has none.
func (s *Store) NodeOf(ctx context.Context, cluster uuid.UUID, instance string) (*fleetv1.NodeMetric, error) {
	row, err := s.q.NodeByInstance(ctx, s.db, centraldb.NodeByInstanceParams{ClusterID: cluster, InstanceID: &instance})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("node of instance", instance, err)
	}
	node, err := nodeMessage(row)
	return node, wrap("reading node", row.NodeName, err)
}

// Watched is a live instance, with the account it runs in.
type Watched struct {
	Customer, Cluster                        uuid.UUID
	ClusterName, Region, RoleARN, ExternalID string
	InstanceID, NodeType                     string
}

// WatchedInstances are the instances of all live nodes, account by account.
func (s *Store) WatchedInstances(ctx context.Context) ([]Watched, error) {
	rows, err := s.q.NodeWatched(ctx, s.db)
	out := make([]Watched, 0, len(rows))
	for _, row := range rows {
		out = append(out, Watched{
			Customer: row.CustomerID, Cluster: row.ClusterID, ClusterName: row.ClusterName, Region: row.Region,
			RoleARN: row.AwsRoleArn, ExternalID: row.ExternalID, InstanceID: row.InstanceID, NodeType: row.NodeType,
		})
	}
	return out, wrap("listing", "instances", err)
}
