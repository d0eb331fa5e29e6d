package store

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// maxVersion is what the column takes; an agent may say more, and is still heard.
const maxVersion = 50

// Session is an agent's line to central.
type Session struct {
	ID    uuid.UUID
	Epoch int64
	// InventorySequence is what central has of the cluster; 0: nothing.
	InventorySequence int64
	// Work: tasks of the cluster are open.
	Work bool
	// Twin: another agent, by the same lease or none, held a session until now.
	Twin bool
}

// CreateCluster registers a cluster with its agent's key.
func (s *Store) CreateCluster(ctx context.Context, customer uuid.UUID, req *adminv1.CreateClusterRequest, key NewKey) (*adminv1.Cluster, error) {
	subnets, err := json.Marshal(req.GetLaunch().GetSubnetIds())
	if err != nil {
		return nil, wrap("encoding subnets of cluster", req.GetClusterName(), err)
	}
	if req.GetLaunch() == nil {
		subnets = []byte("{}")
	}
	var made *adminv1.Cluster
	err = s.InTx(ctx, func(tx *Store) error {
		row, err := tx.q.ClusterCreate(ctx, tx.db, centraldb.ClusterCreateParams{
			CustomerID: customer, ClusterName: req.GetClusterName(), Region: req.GetRegion(),
			LaunchTemplateID: text(req.GetLaunch().GetLaunchTemplateId()), SubnetIds: subnets,
		})
		if err != nil {
			return wrap("cluster", req.GetClusterName(), err)
		}
		made = clusterMessage(row)
		if req.GetMode() != "" {
			values := &adminv1.PolicyValues{Mode: &req.Mode}
			if _, _, err := tx.SetPolicy(ctx, PolicyScope{Customer: customer, Cluster: some(row.ClusterID)}, values, "", key.CreatedBy); err != nil {
				return err
			}
		}
		_, err = tx.CreateKey(ctx, some(customer), some(row.ClusterID), key)
		return err
	})
	return made, err
}

// Clusters lists a customer's clusters, or all, without costs.
func (s *Store) Clusters(ctx context.Context, customer uuid.NullUUID) ([]*adminv1.Cluster, error) {
	rows, err := s.q.ClusterList(ctx, s.db, customer)
	if err != nil {
		return nil, wrap("listing", "clusters", err)
	}
	clusters := make([]*adminv1.Cluster, 0, len(rows))
	for _, row := range rows {
		clusters = append(clusters, clusterMessage(row))
	}
	return clusters, nil
}

// ClusterList says which clusters are listed, and how.
type ClusterList struct {
	// Customer; null: all.
	Customer uuid.NullUUID
	// Search is part of the name; empty: any.
	Search string
	// Status; empty: all but disconnected.
	Status string
	// OrderBy is a field of ListClustersRequest.order_by, " desc" behind turns it round.
	OrderBy string
}

// ClusterPage is a page of clusters without costs, and the next page's token. A page
// of size 0 has all.
func (s *Store) ClusterPage(ctx context.Context, list ClusterList, size int32, token string) ([]*adminv1.Cluster, string, error) {
	page, err := NewPage(size, token, list.OrderBy)
	if err != nil {
		return nil, "", err
	}
	if size == 0 {
		page.Limit = math.MaxInt32 - 1
	}
	after, err := page.After.uuid()
	if err != nil {
		return nil, "", err
	}
	orderBy, descending := strings.CutSuffix(list.OrderBy, " desc")
	params := centraldb.ClusterPageParams{
		OrderBy: orderBy, Descending: descending, CustomerID: list.Customer, Search: list.Search, Status: list.Status,
		AfterID: after, MaxRows: int32(page.Limit + 1),
	}
	if page.After != nil {
		params.AfterKey = page.After.Key
	}
	rows, err := s.q.ClusterPage(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "clusters", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.ClusterPageRow) Cursor {
		return Cursor{Order: list.OrderBy, Key: row.Key, ID: row.Cluster.ClusterID.String()}
	})
	if err != nil {
		return nil, "", wrap("listing", "clusters", err)
	}
	clusters := make([]*adminv1.Cluster, 0, len(rows))
	for _, row := range rows {
		clusters = append(clusters, clusterMessage(row.Cluster))
	}
	return clusters, next, nil
}

// ClusterState is the cluster with its nodes, pods and budgets, without the baseline.
func (s *Store) ClusterState(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (*fleetv1.ClusterState, error) {
	var state *fleetv1.ClusterState
	err := s.inView(ctx, func(tx *Store) error { // one moment for all four reads
		row, err := tx.q.ClusterByID(ctx, tx.db, centraldb.ClusterByIDParams{ClusterID: cluster, CustomerID: customer})
		if err != nil {
			return wrap("cluster", cluster.String(), err)
		}
		state = &fleetv1.ClusterState{
			ClusterId: cluster.String(), ClusterName: row.ClusterName, Region: row.Region, LastUpdated: stamp(row.LastSeenAt),
		}
		if state.Nodes, err = tx.nodes(ctx, cluster); err != nil {
			return err
		}
		if state.Pods, err = tx.pods(ctx, cluster); err != nil {
			return err
		}
		if state.PodDisruptionBudgets, err = tx.budgets(ctx, cluster); err != nil {
			return err
		}
		total(state)
		state.HealthStatus = health(row.LastSeenAt, int(state.PendingPods))
		return nil
	})
	return state, err
}

// CustomerOf is the customer of a cluster.
func (s *Store) CustomerOf(ctx context.Context, cluster uuid.UUID) (uuid.UUID, error) {
	row, err := s.q.ClusterByID(ctx, s.db, centraldb.ClusterByIDParams{ClusterID: cluster})
	return row.CustomerID, wrap("cluster", cluster.String(), err)
}

// LastSeen is when the cluster's state was last known; zero: never.
func (s *Store) LastSeen(ctx context.Context, cluster uuid.UUID) (time.Time, error) {
	row, err := s.q.ClusterByID(ctx, s.db, centraldb.ClusterByIDParams{ClusterID: cluster})
	return value(row.LastSeenAt), wrap("cluster", cluster.String(), err)
}

// Seen notes a word of the cluster's agent.
func (s *Store) Seen(ctx context.Context, cluster uuid.UUID) error {
	return wrap("touching cluster", cluster.String(), s.q.ClusterSeen(ctx, s.db, cluster))
}

// MarkOffline marks clusters whose agent was silent for three minutes and returns cluster → customer.
func (s *Store) MarkOffline(ctx context.Context) (map[uuid.UUID]uuid.UUID, error) {
	rows, err := s.q.ClusterOffline(ctx, s.db)
	gone := make(map[uuid.UUID]uuid.UUID, len(rows))
	for _, row := range rows {
		gone[row.ClusterID] = row.CustomerID
	}
	return gone, wrap("marking clusters", "offline", err)
}

func clusterMessage(row centraldb.Cluster) *adminv1.Cluster {
	return &adminv1.Cluster{
		ClusterId: row.ClusterID.String(), CustomerId: row.CustomerID.String(), ClusterName: row.ClusterName, Region: row.Region,
		K8SVersion: value(row.K8sVersion), NodeCount: row.NodeCount, PodCount: row.PodCount, Status: row.Status,
		HealthStatus: health(row.LastSeenAt, 0), CreatedAt: timestamppb.New(row.CreatedAt), LastSeenAt: stamp(row.LastSeenAt),
	}
}

// health is documented at fleet.v1.ClusterState.health_status.
func health(lastSeen *time.Time, pending int) string {
	switch {
	case lastSeen == nil || time.Since(*lastSeen) > 3*time.Minute:
		return "RED"
	case time.Since(*lastSeen) > time.Minute || pending > 0:
		return "YELLOW"
	default:
		return "GREEN"
	}
}
