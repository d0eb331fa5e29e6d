package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/optimize"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// lastWord is how long an agent has to hear that it is to stop, before its line is cut.
const lastWord = 500 * time.Millisecond

// GetCluster returns a cluster's record.
func (s *Server) GetCluster(ctx context.Context, req *adminv1.GetClusterRequest) (*adminv1.GetClusterResponse, error) {
	cluster, customer, err := s.asked(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	record, err := s.Store.ClusterRecord(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetClusterResponse{Cluster: record}, s.price(ctx, cluster, record)
}

// UpdateCluster changes its name or how its nodes are launched.
func (s *Server) UpdateCluster(ctx context.Context, req *adminv1.UpdateClusterRequest) (*adminv1.UpdateClusterResponse, error) {
	cluster, customer, err := s.asked(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.UpdateClusterResponse{}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		before, after, err := tx.UpdateCluster(ctx, customer, req)
		if err != nil {
			return err
		}
		resp.Cluster = after
		if before == after {
			return nil
		}
		if err := inRegion(after.GetCluster().GetRegion(), req.GetLaunch()); err != nil {
			return err
		}
		owner, err := parse("customer_id", after.GetCluster().GetCustomerId())
		if err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "cluster.update", Customer: some(owner), Cluster: some(cluster), Subject: req.GetClusterName(),
			Detail: map[string]any{"before": settingsOf(before), "after": settingsOf(after)},
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, s.price(ctx, cluster, resp.GetCluster())
}

func settingsOf(record *adminv1.ClusterRecord) map[string]any {
	return map[string]any{
		"cluster_name": record.GetCluster().GetClusterName(), "launch_template_id": record.GetLaunch().GetLaunchTemplateId(),
		"subnet_ids": record.GetLaunch().GetSubnetIds(),
	}
}

// inRegion refuses zones of another region: nothing could be launched there.
func inRegion(region string, launch *adminv1.LaunchSettings) error {
	for zone := range launch.GetSubnetIds() {
		if rest, ok := strings.CutPrefix(zone, region); !ok || rest == "" {
			return fault.Invalid("launch.subnet_ids", "must have zones of "+region+" as keys").With("zone", zone)
		}
	}
	return nil
}

// DisconnectCluster ends its agent's keys and everything that runs there.
func (s *Server) DisconnectCluster(ctx context.Context, req *adminv1.DisconnectClusterRequest) (*adminv1.DisconnectClusterResponse, error) {
	cluster, customer, err := s.asked(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	var left store.Departure
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		if left, err = tx.DisconnectCluster(ctx, cluster, customer, optimize.Disconnected); err != nil || !left.Changed {
			return err
		}
		ended, err := s.Optimizer.Leave(ctx, tx, cluster)
		if err != nil {
			return err
		}
		owner, err := parse("customer_id", left.Record.GetCluster().GetCustomerId())
		if err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "cluster.disconnect", Customer: some(owner), Cluster: some(cluster),
			Subject: left.Record.GetCluster().GetClusterName(),
			Detail: map[string]any{
				"reason": req.GetReason(), "keys_revoked": len(left.Keys), "optimizations_cancelled": ended, "tasks_running": left.Asked,
				"schedules_disabled": left.Schedules, "workloads_left_asleep": left.Asleep,
			},
		})
	})
	if err != nil {
		return nil, err
	}
	s.cut(ctx, cluster, left)
	return &adminv1.DisconnectClusterResponse{Cluster: left.Record}, nil
}

// cut ends the agent's line, after its last word if there are tasks that it should stop.
func (s *Server) cut(ctx context.Context, cluster uuid.UUID, left store.Departure) {
	ctx = context.WithoutCancel(ctx) // it is committed: the caller's leaving must not keep keys alive
	if left.Asked > 0 {
		s.Agents.Announce(ctx, cluster)
		<-time.After(lastWord)
	}
	for _, key := range left.Keys {
		s.Keys.Revoked(ctx, key)
	}
}

// RotateAgentKey makes a new key for its agent.
func (s *Server) RotateAgentKey(ctx context.Context, req *adminv1.RotateAgentKeyRequest) (*adminv1.RotateAgentKeyResponse, error) {
	cluster, customer, err := s.asked(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	record, err := s.Store.ClusterRecord(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	owner, err := parse("customer_id", record.GetCluster().GetCustomerId())
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(time.Duration(req.GetOverlapMinutes()) * time.Minute)
	secret, key := newKey(ctx, "agent", "agent of "+record.GetCluster().GetClusterName())
	var ended []uuid.UUID
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		made, now, err := tx.RotateAgentKey(ctx, cluster, key, end)
		if err != nil {
			return err
		}
		ended = now
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "api_key.rotate", Customer: some(owner), Cluster: some(cluster), Subject: made.GetApiKeyId(),
			Detail: map[string]any{"prefix": key.Prefix, "others_end_at": end, "revoked": len(now)},
		})
	})
	if err != nil {
		return nil, err
	}
	for _, id := range ended {
		s.Keys.Revoked(context.WithoutCancel(ctx), id)
	}
	return &adminv1.RotateAgentKeyResponse{AgentApiKey: secret, OthersEndAt: timestamppb.New(end)}, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// ListNodes lists nodes with price, requests, risk and what is being done to them.
func (s *Server) ListNodes(ctx context.Context, req *adminv1.ListNodesRequest) (*adminv1.ListNodesResponse, error) {
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	nodes, next, err := s.Store.Nodes(ctx, cluster.UUID, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListNodesResponse{Nodes: nodes, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// ListPods lists pods that have not finished.
func (s *Server) ListPods(ctx context.Context, req *adminv1.ListPodsRequest) (*adminv1.ListPodsResponse, error) {
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	pods, next, err := s.Store.Pods(ctx, cluster.UUID, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListPodsResponse{Pods: pods, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// ListEvents lists Kubernetes events, those seen last first.
func (s *Server) ListEvents(ctx context.Context, req *adminv1.ListEventsRequest) (*adminv1.ListEventsResponse, error) {
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	events, next, err := s.Store.Events(ctx, cluster.UUID, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListEventsResponse{Events: events, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// asked reads the id of the cluster that a call is about, and whose the caller may see.
func (s *Server) asked(ctx context.Context, id string) (cluster uuid.UUID, customer uuid.NullUUID, err error) {
	if cluster, err = parse("cluster_id", id); err != nil {
		return cluster, customer, err
	}
	customer, err = auth.Customer(ctx)
	return cluster, customer, err
}

// price adds what the cluster costs.
func (s *Server) price(ctx context.Context, cluster uuid.UUID, record *adminv1.ClusterRecord) error {
	savings, err := s.Book.Savings(ctx, some(cluster), uuid.NullUUID{})
	if err != nil {
		return err
	}
	record.Cluster.CurrentCostPerHour = savings.GetCurrentCostPerHour()
	record.Cluster.BaselineCostPerHour = savings.GetBaselineCostPerHour()
	return nil
}
