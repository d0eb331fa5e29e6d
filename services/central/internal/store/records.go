package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// beats is how long an agent that is heard every five seconds may be silent and counts as
// connected: three heartbeats.
const beats = 15 * time.Second

// ClusterRecord is a cluster as it is registered, without costs.
func (s *Store) ClusterRecord(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (*adminv1.ClusterRecord, error) {
	row, err := s.q.ClusterByID(ctx, s.db, centraldb.ClusterByIDParams{ClusterID: cluster, CustomerID: customer})
	if err != nil {
		return nil, wrap("cluster", cluster.String(), err)
	}
	return recordMessage(row)
}

// UpdateCluster renames a cluster and sets how its nodes are launched, unless it has been
// changed since the version that etag names; an empty etag is any.
func (s *Store) UpdateCluster(ctx context.Context, customer uuid.NullUUID, req *adminv1.UpdateClusterRequest) (before, after *adminv1.ClusterRecord, err error) {
	cluster, err := uuid.Parse(req.GetClusterId())
	if err != nil {
		return nil, nil, fault.Invalid("cluster_id", "must be valid UUID")
	}
	subnets := []byte("{}")
	if req.GetLaunch() != nil {
		if subnets, err = json.Marshal(req.GetLaunch().GetSubnetIds()); err != nil {
			return nil, nil, wrap("encoding subnets of cluster", cluster.String(), err)
		}
	}
	err = s.InTx(ctx, func(tx *Store) error {
		row, err := tx.q.ClusterHeld(ctx, tx.db, centraldb.ClusterHeldParams{ClusterID: cluster, CustomerID: customer})
		if err != nil {
			return wrap("cluster", cluster.String(), err)
		}
		if before, err = recordMessage(row); err != nil {
			return err
		}
		switch {
		case row.DisconnectedAt != nil:
			return errDisconnected(cluster)
		case same(before, req): // said again, perhaps because the first answer was lost
			after = before
			return nil
		case req.GetEtag() != "" && req.GetEtag() != before.GetEtag():
			return errChanged("cluster", cluster.String(), before.GetEtag())
		}
		row, err = tx.q.ClusterUpdate(ctx, tx.db, centraldb.ClusterUpdateParams{
			ClusterName: req.GetClusterName(), LaunchTemplateID: text(req.GetLaunch().GetLaunchTemplateId()), SubnetIds: subnets, ClusterID: cluster,
		})
		if err != nil {
			return wrap("cluster", req.GetClusterName(), err)
		}
		after, err = recordMessage(row)
		return err
	})
	return before, after, err
}

func same(record *adminv1.ClusterRecord, req *adminv1.UpdateClusterRequest) bool {
	return record.GetCluster().GetClusterName() == req.GetClusterName() && proto.Equal(record.GetLaunch(), req.GetLaunch())
}

// Departure is what a disconnection ended.
type Departure struct {
	Record *adminv1.ClusterRecord
	// Keys of the agent, revoked now.
	Keys []uuid.UUID
	// Asked: tasks that the agent has and was not told to stop yet.
	Asked int
	// Schedules that were enabled, and Asleep the workloads that sleep by them, and stay asleep.
	Schedules, Asleep int
	// Changed is false when it was disconnected before.
	Changed bool
}

// DisconnectCluster ends a cluster's keys, tasks, schedules and interruptions, and forgets what ran there.
// Its history stays. What optimizations there do is not ended here.
func (s *Store) DisconnectCluster(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID, why string) (left Departure, err error) {
	err = s.InTx(ctx, func(tx *Store) error {
		row, err := tx.q.ClusterHeld(ctx, tx.db, centraldb.ClusterHeldParams{ClusterID: cluster, CustomerID: customer})
		if err != nil {
			return wrap("cluster", cluster.String(), err)
		}
		if left.Changed = row.DisconnectedAt == nil; left.Changed {
			if err := tx.leave(ctx, cluster, why, &left); err != nil {
				return wrap("disconnecting cluster", cluster.String(), err)
			}
			if row, err = tx.q.ClusterDisconnect(ctx, tx.db, cluster); err != nil {
				return wrap("disconnecting cluster", cluster.String(), err)
			}
		}
		left.Record, err = recordMessage(row)
		return err
	})
	return left, err
}

func (s *Store) leave(ctx context.Context, cluster uuid.UUID, why string, left *Departure) (err error) {
	if left.Keys, err = s.q.KeyRevokeCluster(ctx, s.db, centraldb.KeyRevokeClusterParams{ClusterID: some(cluster)}); err != nil {
		return err
	}
	// Before the tasks: what a schedule writes just now is among them then.
	if left.Schedules, left.Asleep, err = s.leaveSchedules(ctx, cluster); err != nil {
		return err
	}
	asked, err := s.q.ClusterLeaveTasks(ctx, s.db, centraldb.ClusterLeaveTasksParams{ClusterID: cluster, CancelReason: text(why)})
	if err != nil {
		return err
	}
	left.Asked = int(asked)
	err = s.q.ClusterLeaveInterruptions(ctx, s.db, centraldb.ClusterLeaveInterruptionsParams{ClusterID: cluster, Note: why})
	if err != nil {
		return err
	}
	if err := s.q.ClusterLeaveNodes(ctx, s.db, cluster); err != nil {
		return err
	}
	if err := s.q.SilenceBegin(ctx, s.db, cluster); err != nil {
		return err
	}
	if err := s.q.ClusterLeavePods(ctx, s.db, cluster); err != nil {
		return err
	}
	return s.q.ClusterCounts(ctx, s.db, cluster)
}

// Connected refuses a cluster that was disconnected; in a transaction, it stays connected
// until that ends.
func (s *Store) Connected(ctx context.Context, cluster uuid.UUID) error {
	connected, err := s.q.ClusterConnected(ctx, s.db, cluster)
	if err == nil && !connected {
		err = errDisconnected(cluster)
	}
	return wrap("cluster", cluster.String(), err)
}

func errDisconnected(cluster uuid.UUID) error {
	return fault.New(faultv1.Reason_REASON_CONFLICT, "the cluster was disconnected").With("cluster_id", cluster.String())
}

// RotateAgentKey stores a new key of a cluster's agent. Those before end at, or now, which
// the second result lists, when there is no overlap.
func (s *Store) RotateAgentKey(ctx context.Context, cluster uuid.UUID, key NewKey, at time.Time) (made *adminv1.APIKey, ended []uuid.UUID, err error) {
	err = s.InTx(ctx, func(tx *Store) error {
		customer, err := tx.CustomerOf(ctx, cluster)
		if err != nil {
			return err
		}
		if made, err = tx.CreateKey(ctx, some(customer), some(cluster), key); err != nil {
			return err
		}
		but, err := uuid.Parse(made.GetApiKeyId())
		if err != nil {
			return err
		}
		if at.After(time.Now()) {
			_, err = tx.q.KeyExpireCluster(ctx, tx.db, centraldb.KeyExpireClusterParams{ExpiresAt: at, ClusterID: some(cluster), But: but})
		} else {
			ended, err = tx.q.KeyRevokeCluster(ctx, tx.db, centraldb.KeyRevokeClusterParams{ClusterID: some(cluster), But: some(but)})
		}
		return wrap("ending keys of cluster", cluster.String(), err)
	})
	return made, ended, err
}

// Install is what is needed to connect a cluster.
type Install struct {
	ClusterName, Region, ExternalID string
}

// ClusterInstall is what is needed to connect a cluster.
func (s *Store) ClusterInstall(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (Install, error) {
	row, err := s.q.ClusterInstall(ctx, s.db, centraldb.ClusterInstallParams{ClusterID: cluster, CustomerID: customer})
	return Install{ClusterName: row.ClusterName, Region: row.Region, ExternalID: row.ExternalID}, wrap("cluster", cluster.String(), err)
}

func recordMessage(row centraldb.Cluster) (*adminv1.ClusterRecord, error) {
	record := &adminv1.ClusterRecord{
		Cluster: clusterMessage(row), AgentVersion: row.AgentVersion, StateAgeSeconds: -1, Etag: etagOf(row.Version),
		DisconnectedAt: stamp(row.DisconnectedAt), Usage: row.UsageState,
	}
	if value(row.LaunchTemplateID) != "" {
		record.Launch = &adminv1.LaunchSettings{LaunchTemplateId: *row.LaunchTemplateID}
		if err := json.Unmarshal(row.SubnetIds, &record.Launch.SubnetIds); err != nil {
			return nil, wrap("reading subnets of cluster", row.ClusterID.String(), err)
		}
	}
	if row.DisconnectedAt != nil {
		return record, nil
	}
	if row.LastSeenAt != nil {
		record.Connected = time.Since(*row.LastSeenAt) < beats
		// An agent that is heard and sends no change says that nothing has changed.
		if row.InventoryAt != nil {
			record.StateAgeSeconds = max(time.Since(*row.LastSeenAt).Seconds(), 0)
		}
	}
	if record.Connected && row.SessionID.Valid && row.SessionSeenAt != nil && time.Since(*row.SessionSeenAt) < beats {
		record.ConnectedTo = value(row.SessionReplica)
	}
	return record, nil
}
