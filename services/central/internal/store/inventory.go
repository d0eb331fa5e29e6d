package store

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// ErrResync says that a delta does not follow on what is known.
var ErrResync = fault.New(faultv1.Reason_REASON_CONFLICT, "the inventory has a gap, send it whole")

// PutDelta puts a delta in force, if it is the next one of the session that is heard.
func (s *Store) PutDelta(ctx context.Context, cluster uuid.UUID, epoch int64, delta *agentv1.InventoryDelta) error {
	return s.InTx(ctx, func(tx *Store) error {
		known, err := tx.heard(ctx, cluster, epoch)
		if err != nil {
			return err
		}
		if delta.InventorySequence <= known { // sent again: it is in force
			return nil
		}
		if known == 0 || delta.InventorySequence != known+1 {
			return ErrResync
		}
		err = tx.put(ctx, cluster, Fleet{
			Nodes: delta.Nodes, Pods: delta.Pods, Budgets: delta.PodDisruptionBudgets,
			GoneNodes: delta.DeletedNodes, GonePods: delta.DeletedPods, GoneBudgets: delta.DeletedPodDisruptionBudgets,
		})
		if err != nil {
			return err
		}
		return tx.setInventory(ctx, cluster, delta.InventorySequence)
	})
}

// PutSnapshot keeps a page; the last one puts all of them in force. It reports
// whether that happened.
func (s *Store) PutSnapshot(ctx context.Context, cluster uuid.UUID, epoch int64, page *agentv1.InventorySnapshot) (bool, error) {
	content, err := proto.Marshal(page)
	if err != nil {
		return false, wrap("encoding a page of cluster", cluster.String(), err)
	}
	err = s.InTx(ctx, func(tx *Store) error {
		if _, err := tx.heard(ctx, cluster, epoch); err != nil {
			return err
		}
		if page.Page == 0 { // what an earlier try left behind
			if err := tx.q.InventoryPagesClear(ctx, tx.db, cluster); err != nil {
				return wrap("clearing pages of cluster", cluster.String(), err)
			}
		}
		err := tx.q.InventoryPagePut(ctx, tx.db, centraldb.InventoryPagePutParams{
			ClusterID: cluster, SessionEpoch: epoch, InventorySequence: page.InventorySequence, Page: page.Page, Content: content,
		})
		if err != nil || !page.Last {
			return wrap("writing a page of cluster", cluster.String(), err)
		}
		return tx.enforce(ctx, cluster, epoch, page.InventorySequence)
	})
	return page.Last && err == nil, err
}

// enforce puts the collected pages in force.
func (s *Store) enforce(ctx context.Context, cluster uuid.UUID, epoch, sequence int64) error {
	rows, err := s.q.InventoryPages(ctx, s.db, centraldb.InventoryPagesParams{ClusterID: cluster, SessionEpoch: epoch, InventorySequence: sequence})
	if err != nil {
		return wrap("reading pages of cluster", cluster.String(), err)
	}
	all := Fleet{Complete: true}
	for i, row := range rows {
		if int(row.Page) != i {
			return ErrResync
		}
		page := &agentv1.InventorySnapshot{}
		if err := proto.Unmarshal(row.Content, page); err != nil {
			return wrap("reading pages of cluster", cluster.String(), err)
		}
		all.Nodes = append(all.Nodes, page.Nodes...)
		all.Pods = append(all.Pods, page.Pods...)
		all.Budgets = append(all.Budgets, page.PodDisruptionBudgets...)
	}
	if err := s.put(ctx, cluster, all); err != nil {
		return err
	}
	if err := s.q.InventoryPagesClear(ctx, s.db, cluster); err != nil {
		return wrap("clearing pages of cluster", cluster.String(), err)
	}
	return s.setInventory(ctx, cluster, sequence)
}

// PutReport takes what came with an agent's metrics. A complete one is the whole
// cluster, and a stream that comes later must send its inventory anew. Another
// adds what it names, unless a stream keeps the inventory: that one knows more.
func (s *Store) PutReport(ctx context.Context, cluster uuid.UUID, report Fleet) error {
	return s.InTx(ctx, func(tx *Store) error {
		known, err := tx.q.ClusterInventory(ctx, tx.db, cluster)
		if err != nil {
			return wrap("cluster", cluster.String(), err)
		}
		if known.Disconnected {
			return errDisconnected(cluster)
		}
		if !report.Complete && known.InventorySequence > 0 {
			return nil
		}
		if err := tx.put(ctx, cluster, report); err != nil {
			return err
		}
		return tx.setInventory(ctx, cluster, 0)
	})
}

// heard locks the cluster and returns its inventory sequence, if the session is the one that is heard.
func (s *Store) heard(ctx context.Context, cluster uuid.UUID, epoch int64) (int64, error) {
	row, err := s.q.ClusterInventory(ctx, s.db, cluster)
	if err != nil {
		return 0, wrap("cluster", cluster.String(), err)
	}
	if row.SessionEpoch != epoch || row.Disconnected {
		return 0, errSuperseded()
	}
	return row.InventorySequence, nil
}

func errSuperseded() error {
	return fault.New(faultv1.Reason_REASON_SUPERSEDED, "a newer session of this cluster has taken over")
}

func (s *Store) setInventory(ctx context.Context, cluster uuid.UUID, sequence int64) error {
	err := s.q.ClusterInventorySet(ctx, s.db, centraldb.ClusterInventorySetParams{ClusterID: cluster, InventorySequence: sequence})
	return wrap("noting the inventory of cluster", cluster.String(), err)
}
