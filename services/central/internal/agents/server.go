// Package agents is AgentService: the live streams of the clusters, and the same over polling.
package agents

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Bus wakes other replicas and carries news to the dashboards; it may lose messages.
type Bus interface {
	dispatch.Bus
	PublishDashboard(ctx context.Context, customer uuid.UUID, news *adminv1.StreamResponse) error
}

// Config is what the server needs.
type Config struct {
	Store *store.Store
	Bus   Bus
	Log   *slog.Logger
	// Replica names this process, for welcome.server_id.
	Replica string
	// Intervals sent with welcome.
	Settings *agentv1.Settings
}

// Server answers the agents.
type Server struct {
	agentv1.UnimplementedAgentServiceServer
	Config
}

// New makes a server.
func New(cfg Config) *Server { return &Server{Config: cfg} }

// DefaultSettings are the intervals agents are given unless configured otherwise.
func DefaultSettings() *agentv1.Settings {
	return &agentv1.Settings{
		HeartbeatSeconds: 5, MetricsSeconds: 15, ProgressSeconds: 5, InventorySeconds: 0.5, MaxInflightTasks: 64,
	}
}

// finish ends a task with its result; false: it had ended, or is not known.
func (s *Server) finish(ctx context.Context, cluster uuid.UUID, result *fleetv1.TaskResult) (bool, error) {
	id, err := uuid.Parse(result.GetTaskId())
	if err != nil {
		return false, fault.Invalid("task_id", "must be valid UUID").Because(err)
	}
	task, err := s.Store.FinishTask(ctx, cluster, id, result)
	if err != nil || task == nil {
		return false, err
	}
	s.Log.InfoContext(ctx, "task ended", "task_id", task.TaskId, "task_type", task.TaskType, "cluster_id", cluster,
		"status", task.Status, "error", result.GetError())
	s.tell(ctx, cluster, &adminv1.StreamResponse{Type: "task_update", Status: task.Status, Message: task.TaskType})
	return true, nil
}

// tell sends news of a cluster to the dashboards. Dashboards also read state
// over REST, so lost news is a delay, not an error.
func (s *Server) tell(ctx context.Context, cluster uuid.UUID, news *adminv1.StreamResponse) {
	customer, err := s.Store.CustomerOf(ctx, cluster)
	if err == nil {
		news.ClusterId = cluster.String()
		err = s.Bus.PublishDashboard(ctx, customer, news)
	}
	if err != nil {
		s.Log.DebugContext(ctx, "telling the dashboards", "cluster_id", cluster, "error", err)
	}
}
