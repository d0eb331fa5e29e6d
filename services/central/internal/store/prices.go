package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// UnpricedNode is a node whose price is not known, or old.
type UnpricedNode struct {
	Cluster                            uuid.UUID
	Region, Node, NodeType, Zone, Type string
}

// UnpricedNodes returns live nodes without a price, or all of them.
func (s *Store) UnpricedNodes(ctx context.Context, every bool) ([]UnpricedNode, error) {
	rows, err := s.q.NodeUnpriced(ctx, s.db, every)
	if err != nil {
		return nil, wrap("looking for", "unpriced nodes", err)
	}
	out := make([]UnpricedNode, 0, len(rows))
	for _, row := range rows {
		out = append(out, UnpricedNode{
			Cluster: row.ClusterID, Region: row.Region, Node: row.NodeName, NodeType: row.NodeType,
			Zone: row.AvailabilityZone, Type: row.InstanceType,
		})
	}
	return out, nil
}

// NodePrice is what a node costs and would cost on demand, USD per hour.
type NodePrice struct {
	Cluster          uuid.UUID
	Node             string
	Hourly, OnDemand float64
}

// SetNodePrices writes prices.
func (s *Store) SetNodePrices(ctx context.Context, prices []NodePrice) error {
	var rows centraldb.NodePriceManyParams
	for _, p := range prices {
		rows.ClusterIds = append(rows.ClusterIds, p.Cluster)
		rows.NodeNames = append(rows.NodeNames, p.Node)
		rows.Hourlies = append(rows.Hourlies, p.Hourly)
		rows.OnDemands = append(rows.OnDemands, p.OnDemand)
	}
	if len(rows.NodeNames) == 0 {
		return nil
	}
	return wrap("writing", "node prices", s.q.NodePriceMany(ctx, s.db, rows))
}

// Cost of a cluster, USD per hour.
type Cost struct {
	Cluster           uuid.UUID
	Name              string
	Current, OnDemand float64
}

// Costs of a customer's clusters, of one of them, or of all.
func (s *Store) Costs(ctx context.Context, cluster, customer uuid.NullUUID) ([]Cost, error) {
	rows, err := s.q.NodeCosts(ctx, s.db, centraldb.NodeCostsParams{CustomerID: customer, ClusterID: cluster})
	if err != nil {
		return nil, wrap("adding up", "costs", err)
	}
	out := make([]Cost, 0, len(rows))
	for _, row := range rows {
		out = append(out, Cost{Cluster: row.ClusterID, Name: row.ClusterName, Current: row.CurrentCost, OnDemand: row.OnDemandCost})
	}
	return out, nil
}

// Effect is what a completed optimization saved, and how many of the nodes it launched still run.
type Effect struct {
	Cluster         uuid.UUID
	SavedPerHour    float64
	Launched, Alive float64
}

// Effects of completed optimizations.
func (s *Store) Effects(ctx context.Context, cluster, customer uuid.NullUUID) ([]Effect, error) {
	rows, err := s.q.OptimizationEffects(ctx, s.db, centraldb.OptimizationEffectsParams{CustomerID: customer, ClusterID: cluster})
	if err != nil {
		return nil, wrap("adding up", "savings", err)
	}
	out := make([]Effect, 0, len(rows))
	for _, row := range rows {
		out = append(out, Effect{Cluster: row.ClusterID, SavedPerHour: row.SavedPerHour, Launched: row.Launched, Alive: row.Alive})
	}
	return out, nil
}
