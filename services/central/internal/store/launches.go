package store

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Launch is some equal instances that a story launches with one EC2 call.
type Launch struct {
	Index         int
	ClientToken   string
	InstanceType  string
	Zone          string
	NodeType      string
	Count         int
	HourlyPrice   float64
	OnDemandPrice float64
	InstanceIDs   []string
	Status        string
	Error         string
}

// AddLaunches writes what is to be launched; those that are there stay as they are.
func (s *Store) AddLaunches(ctx context.Context, id uuid.UUID, launches []Launch) error {
	for _, l := range launches {
		err := s.q.LaunchCreate(ctx, s.db, centraldb.LaunchCreateParams{
			OptimizationID: id, LaunchIndex: int32(l.Index), ClientToken: l.ClientToken, InstanceType: l.InstanceType,
			AvailabilityZone: l.Zone, NodeType: l.NodeType, NodeCount: int32(l.Count), HourlyPrice: l.HourlyPrice,
			OnDemandHourlyPrice: l.OnDemandPrice,
		})
		if err != nil {
			return wrap("writing launches of optimization", id.String(), err)
		}
	}
	return nil
}

// Launches of a story, in order.
func (s *Store) Launches(ctx context.Context, id uuid.UUID) ([]Launch, error) {
	rows, err := s.q.LaunchList(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading launches of optimization", id.String(), err)
	}
	out := make([]Launch, 0, len(rows))
	for _, row := range rows {
		out = append(out, Launch{
			Index: int(row.LaunchIndex), ClientToken: row.ClientToken, InstanceType: row.InstanceType, Zone: row.AvailabilityZone,
			NodeType: row.NodeType, Count: int(row.NodeCount), HourlyPrice: row.HourlyPrice, OnDemandPrice: row.OnDemandHourlyPrice,
			InstanceIDs: row.InstanceIds, Status: row.Status, Error: row.Error,
		})
	}
	return out, nil
}

// SetLaunch notes what became of a launch.
func (s *Store) SetLaunch(ctx context.Context, id uuid.UUID, l Launch) error {
	return wrap("writing a launch of optimization", id.String(), s.q.LaunchSet(ctx, s.db, centraldb.LaunchSetParams{
		Status: l.Status, InstanceIds: orEmpty(l.InstanceIDs), Error: l.Error, OptimizationID: id, LaunchIndex: int32(l.Index),
	}))
}

// LaunchedNode is a node that a launched instance became.
type LaunchedNode struct {
	Name, InstanceID string
	Ready            bool
	Gone             bool
}

// LaunchedNodes are the nodes of a story's instances so far.
func (s *Store) LaunchedNodes(ctx context.Context, id uuid.UUID) ([]LaunchedNode, error) {
	rows, err := s.q.LaunchedNodes(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading launched nodes of optimization", id.String(), err)
	}
	out := make([]LaunchedNode, 0, len(rows))
	for _, row := range rows {
		out = append(out, LaunchedNode{Name: row.NodeName, InstanceID: row.InstanceID, Ready: row.Status == "Ready", Gone: row.Status == "Terminated"})
	}
	return out, nil
}

// Replaced is a node that a story takes away.
type Replaced struct {
	Position    int
	Node        string
	InstanceID  string
	HourlyPrice float64
	// Status: pending, draining, drained, kept, terminated.
	Status string
	Error  string
	// Round counts tries that a stop cut short.
	Round int
}

// AddReplaced writes the nodes to take away; those that are there stay as they are.
func (s *Store) AddReplaced(ctx context.Context, id uuid.UUID, nodes []Replaced) error {
	rows := centraldb.ReplacedCreateManyParams{OptimizationID: id}
	for _, n := range nodes {
		rows.Positions = append(rows.Positions, int32(n.Position))
		rows.NodeNames = append(rows.NodeNames, n.Node)
		rows.InstanceIds = append(rows.InstanceIds, n.InstanceID)
		rows.HourlyPrices = append(rows.HourlyPrices, n.HourlyPrice)
	}
	if len(nodes) == 0 {
		return nil
	}
	return wrap("writing nodes of optimization", id.String(), errors.Join(
		s.q.ReplacedCreateMany(ctx, s.db, rows), s.q.SwapFromOptimization(ctx, s.db, id)))
}

// ReplacedNodes of a story, in order.
func (s *Store) ReplacedNodes(ctx context.Context, id uuid.UUID) ([]Replaced, error) {
	rows, err := s.q.ReplacedList(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading nodes of optimization", id.String(), err)
	}
	out := make([]Replaced, 0, len(rows))
	for _, row := range rows {
		out = append(out, Replaced{
			Position: int(row.Position), Node: row.NodeName, InstanceID: row.InstanceID, HourlyPrice: row.HourlyPrice,
			Status: row.Status, Error: row.Error, Round: int(row.Round),
		})
	}
	return out, nil
}

// BeginDrain notes that a node's drain begins.
func (s *Store) BeginDrain(ctx context.Context, id uuid.UUID, node string) error {
	return wrap("writing nodes of optimization", id.String(),
		s.q.ReplacedDraining(ctx, s.db, centraldb.ReplacedDrainingParams{OptimizationID: id, NodeName: node}))
}

// TryAgain notes that what was done to a node was cut short, and is to be done again.
func (s *Store) TryAgain(ctx context.Context, id uuid.UUID, node, why string) error {
	return wrap("writing nodes of optimization", id.String(),
		s.q.ReplacedAgain(ctx, s.db, centraldb.ReplacedAgainParams{OptimizationID: id, NodeName: node, Error: why}))
}

func (s *Store) plannedMessages(ctx context.Context, id uuid.UUID) ([]*adminv1.PlannedNode, error) {
	nodes, err := s.ReplacedNodes(ctx, id)
	out := make([]*adminv1.PlannedNode, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, &adminv1.PlannedNode{
			NodeName: n.Node, InstanceId: n.InstanceID, Status: n.Status, Error: n.Error, HourlyPrice: n.HourlyPrice,
		})
	}
	return out, err
}

// SetReplaced notes what became of nodes.
func (s *Store) SetReplaced(ctx context.Context, id uuid.UUID, status, trouble string, nodes ...string) error {
	return wrap("writing nodes of optimization", id.String(), s.q.ReplacedSet(ctx, s.db, centraldb.ReplacedSetParams{
		Status: status, Error: trouble, OptimizationID: id, NodeNames: nodes,
	}))
}

func (s *Store) launchedMessages(ctx context.Context, id uuid.UUID) ([]*adminv1.LaunchedInstance, error) {
	launches, err := s.Launches(ctx, id)
	if err != nil {
		return nil, err
	}
	nodes, err := s.LaunchedNodes(ctx, id)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(nodes))
	for _, n := range nodes {
		names[n.InstanceID] = n.Name
	}
	var out []*adminv1.LaunchedInstance
	for _, l := range launches {
		for _, instance := range l.InstanceIDs {
			out = append(out, &adminv1.LaunchedInstance{
				InstanceId: instance, InstanceType: l.InstanceType, AvailabilityZone: l.Zone, NodeType: l.NodeType,
				HourlyPrice: l.HourlyPrice, NodeName: names[instance],
			})
		}
	}
	return out, nil
}
