package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// StopIn is the stop that holds in a cluster: the widest, which includes interruptions
// when any that holds there does; nil: none.
func (s *Store) StopIn(ctx context.Context, cluster uuid.UUID) (*adminv1.Stop, error) {
	found, err := s.StopsIn(ctx, cluster)
	return Holding(found[cluster]), err
}

// StopsIn are all stops that hold in each of the clusters, the widest first; a cluster
// without any is left out.
func (s *Store) StopsIn(ctx context.Context, clusters ...uuid.UUID) (map[uuid.UUID][]*adminv1.Stop, error) {
	rows, err := s.q.StopsIn(ctx, s.db, clusters)
	if err != nil {
		return nil, wrap("reading", "stops", err)
	}
	found := map[uuid.UUID][]*adminv1.Stop{}
	for _, row := range rows {
		found[row.ForCluster] = append(found[row.ForCluster], stopMessage(row.Stop))
	}
	return found, nil
}

// StopsAmong is StopsIn for many clusters, thousands of them every second.
func (s *Store) StopsAmong(ctx context.Context, clusters []uuid.UUID) (map[uuid.UUID][]*adminv1.Stop, error) {
	any, err := s.q.StopsExist(ctx, s.db)
	if err != nil || !any {
		return nil, wrap("looking for", "stops", err)
	}
	return s.StopsIn(ctx, clusters...)
}

// Holding is what several stops that hold in one place come to, the widest first; nil: nothing.
func Holding(stops []*adminv1.Stop) *adminv1.Stop {
	if len(stops) == 0 {
		return nil
	}
	first := stops[0]
	for _, one := range stops[1:] {
		first.IncludeInterruptions = first.IncludeInterruptions || one.GetIncludeInterruptions()
	}
	return first
}

// StopsOfCustomer are those that hold in all clusters of a customer.
func (s *Store) StopsOfCustomer(ctx context.Context, customer uuid.UUID) ([]*adminv1.Stop, error) {
	rows, err := s.q.StopsOfCustomer(ctx, s.db, some(customer))
	out := make([]*adminv1.Stop, 0, len(rows))
	for _, row := range rows {
		out = append(out, stopMessage(row))
	}
	return out, wrap("reading stops of customer", customer.String(), err)
}

// BarStops keeps new stops out until the transaction of s ends: whoever writes something
// disruptive takes it first and then looks for stops, so that a stop either is seen here
// or sees, and cancels, what is written here.
func (s *Store) BarStops(ctx context.Context) error {
	return wrap("keeping out", "stops", s.q.StopBarrierShared(ctx, s.db))
}

// NewStop is a stop to be made.
type NewStop struct {
	// Scope: platform, customer or cluster.
	Scope                string
	Customer, Cluster    uuid.NullUUID
	Reason, Actor        string
	IncludeInterruptions bool
}

// StopPrefix begins the reason of tasks that a stop cancels.
const StopPrefix = "stopped: "

// AddStop makes a stop, or finds the one in force, and cancels the open drains and cordons
// in its clusters. It returns whether that changed anything. In a transaction.
func (s *Store) AddStop(ctx context.Context, n NewStop) (stop *adminv1.Stop, fresh bool, err error) {
	if err := s.q.StopBarrier(ctx, s.db); err != nil {
		return nil, false, wrap("making", "a stop", err)
	}
	row, err := s.q.StopInForce(ctx, s.db, centraldb.StopInForceParams{Scope: n.Scope, CustomerID: n.Customer, ClusterID: n.Cluster})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		row, err = s.q.StopCreate(ctx, s.db, centraldb.StopCreateParams{
			Scope: n.Scope, CustomerID: n.Customer, ClusterID: n.Cluster, Reason: n.Reason, IncludeInterruptions: n.IncludeInterruptions,
			CreatedBy: n.Actor,
		})
		fresh = true
	case err == nil && n.IncludeInterruptions && !row.IncludeInterruptions:
		row, err = s.q.StopWiden(ctx, s.db, row.StopID)
		fresh = true
	}
	if err != nil {
		return nil, false, wrap("making", "a stop", err)
	}
	if fresh {
		cancelled, err := s.cancelFor(ctx, row)
		if err != nil {
			return nil, false, wrap("cancelling drains for stop", row.StopID.String(), err)
		}
		row.DrainsCancelled += cancelled
	}
	stop, err = s.counted(ctx, row)
	return stop, fresh, err
}

// cancelFor cancels what a stop does not let go on, and returns how many drains that were.
func (s *Store) cancelFor(ctx context.Context, row centraldb.Stop) (int32, error) {
	ended, err := s.q.StopCancelTasks(ctx, s.db, centraldb.StopCancelTasksParams{
		StopID: row.StopID, CancelReason: text(StopPrefix + row.Reason),
	})
	if err != nil {
		return 0, err
	}
	var drains int32
	ids := make([]uuid.UUID, 0, len(ended))
	for _, task := range ended {
		ids = append(ids, task.TaskID)
		if task.TaskType == "drain_node" {
			drains++
		}
	}
	return drains, s.auditTasks(ctx, "central", "cancel", ids...)
}

// LiftStop ends a stop; false: it was lifted before.
func (s *Store) LiftStop(ctx context.Context, id uuid.UUID, actor, reason string) (*adminv1.Stop, bool, error) {
	row, err := s.q.StopLift(ctx, s.db, centraldb.StopLiftParams{StopID: id, LiftedBy: actor, LiftReason: reason})
	if errors.Is(err, pgx.ErrNoRows) {
		stop, err := s.Stop(ctx, id, uuid.NullUUID{})
		return stop, false, err
	}
	if err != nil {
		return nil, false, wrap("lifting stop", id.String(), err)
	}
	stop, err := s.counted(ctx, row)
	return stop, true, err
}

// Stop that the customer may see; those of the platform are everybody's to see.
func (s *Store) Stop(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.Stop, error) {
	row, err := s.q.StopByID(ctx, s.db, centraldb.StopByIDParams{StopID: id, CustomerID: customer})
	if err != nil {
		return nil, wrap("stop", id.String(), err)
	}
	return s.counted(ctx, row)
}

// StopOrder is how stops are listed.
const StopOrder = "created_at desc"

// Stops lists the newest first; with a cluster, those that hold in it.
func (s *Store) Stops(ctx context.Context, customer, cluster uuid.NullUUID, lifted bool, page Page) ([]*adminv1.Stop, string, error) {
	after, id, err := page.timePlace()
	if err != nil {
		return nil, "", err
	}
	rows, err := s.q.StopList(ctx, s.db, centraldb.StopListParams{
		IncludeLifted: lifted, CustomerID: customer, ClusterID: cluster, AfterAt: after, AfterID: id, MaxRows: int32(page.Limit) + 1,
	})
	if err != nil {
		return nil, "", wrap("listing", "stops", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.Stop) Cursor { return dated(StopOrder, row.CreatedAt, row.StopID.String()) })
	if err != nil {
		return nil, "", wrap("listing", "stops", err)
	}
	out, err := s.countedAll(ctx, rows)
	return out, next, err
}

// ClusterOwner is a cluster and whose it is.
type ClusterOwner struct{ Cluster, Customer uuid.UUID }

// StopClusters are the clusters that a stop holds in.
func (s *Store) StopClusters(ctx context.Context, id uuid.UUID) ([]ClusterOwner, error) {
	rows, err := s.q.StopClusters(ctx, s.db, id)
	out := make([]ClusterOwner, 0, len(rows))
	for _, row := range rows {
		out = append(out, ClusterOwner{Cluster: row.ClusterID, Customer: row.CustomerID})
	}
	return out, wrap("reading the clusters of stop", id.String(), err)
}

func (s *Store) counted(ctx context.Context, row centraldb.Stop) (*adminv1.Stop, error) {
	all, err := s.countedAll(ctx, []centraldb.Stop{row})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func (s *Store) countedAll(ctx context.Context, rows []centraldb.Stop) ([]*adminv1.Stop, error) {
	ids := make([]uuid.UUID, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.StopID)
	}
	counts, err := s.q.StopClusterCounts(ctx, s.db, ids)
	if err != nil {
		return nil, wrap("counting clusters of", "stops", err)
	}
	clusters := map[uuid.UUID]int32{}
	for _, c := range counts {
		clusters[c.StopID] = c.Clusters
	}
	out := make([]*adminv1.Stop, 0, len(rows))
	for _, row := range rows {
		msg := stopMessage(row)
		msg.Clusters = clusters[row.StopID]
		out = append(out, msg)
	}
	return out, nil
}

func stopMessage(row centraldb.Stop) *adminv1.Stop {
	return &adminv1.Stop{
		StopId: row.StopID.String(), Scope: row.Scope, CustomerId: idText(row.CustomerID), ClusterId: idText(row.ClusterID),
		Reason: row.Reason, IncludeInterruptions: row.IncludeInterruptions, CreatedAt: timestamppb.New(row.CreatedAt), CreatedBy: row.CreatedBy,
		LiftedAt: stamp(row.LiftedAt), LiftedBy: row.LiftedBy, LiftReason: row.LiftReason, DrainsCancelled: row.DrainsCancelled,
	}
}
