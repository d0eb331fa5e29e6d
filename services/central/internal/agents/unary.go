package agents

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListTasks returns the open tasks and leases the waiting ones to the caller.
func (s *Server) ListTasks(ctx context.Context, req *agentv1.ListTasksRequest) (*agentv1.ListTasksResponse, error) {
	cluster, err := own(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	if err := s.Store.Seen(ctx, cluster); err != nil {
		return nil, err
	}
	tasks, err := s.Store.PollTasks(ctx, cluster, dispatch.RunLease)
	return &agentv1.ListTasksResponse{Tasks: tasks}, err
}

// SubmitTaskResult ends a task; repeating it changes nothing.
func (s *Server) SubmitTaskResult(ctx context.Context, req *agentv1.SubmitTaskResultRequest) (*agentv1.SubmitTaskResultResponse, error) {
	if req.GetResult().GetTaskId() == "" { // the guide's own example leaves it to the path
		req.GetResult().TaskId = req.GetTaskId()
	}
	if req.GetResult().GetTaskId() != req.GetTaskId() {
		return nil, fault.Invalid("task_id", "must be the task_id of the path")
	}
	cluster := auth.From(ctx).ClusterID.UUID // the policy lets agents alone in
	accepted, err := s.finish(ctx, cluster, 0, req.GetResult())
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	status, err := s.Store.TaskStatus(ctx, cluster, id)
	return &agentv1.SubmitTaskResultResponse{TaskId: req.GetTaskId(), Status: status, Accepted: accepted}, err
}

// SubmitMetrics stores one report.
func (s *Server) SubmitMetrics(ctx context.Context, req *agentv1.SubmitMetricsRequest) (*agentv1.SubmitMetricsResponse, error) {
	cluster, err := own(ctx, req.GetMetrics().GetClusterId())
	if err != nil {
		return nil, err
	}
	if err := s.takeMetrics(ctx, cluster, req.GetMetrics()); err != nil {
		return nil, err
	}
	return &agentv1.SubmitMetricsResponse{ReceivedAt: timestamppb.Now()}, nil
}

// SubmitEvents stores Kubernetes events; notices among them are acted on first.
func (s *Server) SubmitEvents(ctx context.Context, req *agentv1.SubmitEventsRequest) (*agentv1.SubmitEventsResponse, error) {
	cluster := auth.From(ctx).ClusterID.UUID // the policy lets agents alone in
	for _, event := range req.GetEvents() {
		if event.GetClusterId() == "" {
			continue
		}
		if _, err := own(ctx, event.GetClusterId()); err != nil {
			return nil, err
		}
	}
	n, err := s.addEvents(ctx, cluster, req.GetEvents())
	return &agentv1.SubmitEventsResponse{Accepted: int32(n)}, err //nolint:gosec // at most 1,000
}

// addEvents acts on the notices events carry, then stores them: what is stored has been acted on.
func (s *Server) addEvents(ctx context.Context, cluster uuid.UUID, events []*fleetv1.Event) (int, error) {
	for _, event := range events {
		if err := s.notice(ctx, cluster, event.GetNotice()); err != nil {
			return 0, err
		}
	}
	return s.Store.AddEvents(ctx, cluster, events)
}

func (s *Server) notice(ctx context.Context, cluster uuid.UUID, notice *fleetv1.NodeNotice) error {
	switch {
	case notice == nil:
		return nil
	case s.Interruptions == nil:
		return fault.Unimplemented("acting on notices")
	default:
		return s.Interruptions.Notice(ctx, cluster, notice)
	}
}

// Heartbeat notes that the agent lives.
func (s *Server) Heartbeat(ctx context.Context, req *agentv1.HeartbeatRequest) (*agentv1.HeartbeatResponse, error) {
	cluster, err := own(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	if err := s.Store.Seen(ctx, cluster); err != nil {
		return nil, err
	}
	waiting, err := s.Store.PendingTasks(ctx, cluster)
	if err != nil {
		return nil, err
	}
	stop, err := s.stopIn(ctx, cluster)
	return &agentv1.HeartbeatResponse{ServerTime: timestamppb.Now(), PendingTasks: waiting, Stop: stop}, err
}

// own is the cluster an agent names, if it is its own.
func own(ctx context.Context, id string) (uuid.UUID, error) {
	cluster, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil, fault.Invalid("cluster_id", "must be valid UUID")
	}
	return cluster, auth.Cluster(ctx, cluster)
}

// takeMetrics stores a report; one that is complete is also the inventory.
func (s *Server) takeMetrics(ctx context.Context, cluster uuid.UUID, m *fleetv1.ClusterMetrics) error {
	err := s.Store.PutReport(ctx, cluster, store.Fleet{
		Nodes: m.GetNodes(), Pods: m.GetPods(), Budgets: m.GetPodDisruptionBudgets(), Complete: m.GetComplete(),
	})
	if err != nil {
		return err
	}
	cost, err := s.Store.Costs(ctx, uuid.NullUUID{UUID: cluster, Valid: true}, uuid.NullUUID{})
	if err != nil {
		return err
	}
	var current float64
	for _, c := range cost {
		current = c.Current
	}
	if err := s.Store.AddMetrics(ctx, cluster, m, current); err != nil {
		return err
	}
	if err := s.Store.Seen(ctx, cluster); err != nil {
		return err
	}
	if err := s.Store.AddUsage(ctx, cluster, m.GetTimestamp().AsTime(), m.GetUsage()); err != nil {
		return err
	}
	s.tell(ctx, cluster, &adminv1.StreamResponse{Type: "cluster_state", Status: "updated", Timestamp: timestamppb.Now(), State: summary(m, current)})
	return nil
}

// summary is a report as the dashboards get it.
func summary(m *fleetv1.ClusterMetrics, cost float64) *fleetv1.ClusterState {
	return &fleetv1.ClusterState{
		ClusterId: m.ClusterId, TotalNodes: m.TotalNodes, SpotNodes: m.SpotNodes, OnDemandNodes: m.OnDemandNodes,
		TotalCpuCores: m.TotalCpu, TotalMemoryGb: m.TotalMemoryGb, AllocatedCpuCores: m.AllocatedCpu,
		AllocatedMemoryGb: m.AllocatedMemoryGb, TotalPods: m.TotalPods, RunningPods: m.RunningPods,
		PendingPods: m.PendingPods, CurrentCostPerHour: cost, LastUpdated: m.Timestamp,
	}
}
