// Package agents is AgentService: the live streams of the clusters, and the same over polling.
package agents

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Bus wakes other replicas and carries news to the dashboards; it may lose messages.
type Bus interface {
	dispatch.Bus
	Watch(prefix string, hear func(topic string, payload []byte)) (stop func())
	Limiter() *bus.Limiter
	PublishDashboard(ctx context.Context, customer uuid.UUID, news *adminv1.StreamResponse) error
}

// Interruptions acts on what instances say of themselves.
type Interruptions interface {
	// Notice returns once the notice is committed; the same one again changes nothing.
	Notice(ctx context.Context, cluster uuid.UUID, notice *fleetv1.NodeNotice) error
}

// Config is what the server needs. What is left zero has a default.
type Config struct {
	Store *store.Store
	Bus   Bus
	Log   *slog.Logger
	// Replica names this process, for welcome.server_id.
	Replica string
	// Intervals sent with welcome.
	Settings *agentv1.Settings
	// Interruptions hears of notices; nil: they are answered as unsupported.
	Interruptions Interruptions
	// StreamAge is the age at which an agent is asked to connect anew, so that streams
	// spread over replicas; each gets one between half of it and all. 0: an hour.
	StreamAge time.Duration
	// StreamsPerSecond may open on this replica; more are told when to come again. 0: 500.
	StreamsPerSecond int
	// ConnectsPerMinute a cluster may open, on all replicas together. 0: 10.
	ConnectsPerMinute int
}

// Server answers the agents.
type Server struct {
	agentv1.UnimplementedAgentServiceServer
	Config

	gate *gate

	mu sync.Mutex
	// sessions are the newest of each cluster on this replica.
	sessions map[uuid.UUID]*session
	// keeping: keep runs; it does while there are sessions.
	keeping bool
	// empty wakes keep when the last session has left.
	empty chan struct{}
	// leaving: this replica stops and takes no more streams.
	leaving bool
}

// New makes a server. It listens to the bus from then on.
func New(cfg Config) *Server {
	cfg.StreamAge = orDefault(cfg.StreamAge, time.Hour)
	cfg.StreamsPerSecond = orDefault(cfg.StreamsPerSecond, 500)
	cfg.ConnectsPerMinute = orDefault(cfg.ConnectsPerMinute, 10)
	s := &Server{Config: cfg, gate: newGate(cfg.StreamsPerSecond), sessions: map[uuid.UUID]*session{}, empty: make(chan struct{}, 1)}
	cfg.Bus.Watch(dispatch.Topics, func(topic string, _ []byte) { s.wake(topic[len(dispatch.Topics):]) })
	cfg.Bus.Watch(sessionTopics, func(topic string, payload []byte) { s.newer(topic[len(sessionTopics):], payload) })
	return s
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// DefaultSettings are the intervals agents are given unless configured otherwise,
// and what they do by themselves when a node is about to go: all of it, for a
// node that AWS takes is lost anyway.
func DefaultSettings() *agentv1.Settings {
	return &agentv1.Settings{
		HeartbeatSeconds: 5, MetricsSeconds: 15, ProgressSeconds: 5, InventorySeconds: 0.5, MaxInflightTasks: 64,
		Interruption: &agentv1.InterruptionPolicy{
			Cordon: true, Drain: true,
			Parameters: &fleetv1.DrainNodeParameters{Force: true, VolumeDetachSeconds: 30, SafetyMarginSeconds: 5},
		},
	}
}

// finish ends a task with its result, which came over the session epoch, 0 for
// none; false: it had ended, runs elsewhere, or is not known.
func (s *Server) finish(ctx context.Context, cluster uuid.UUID, epoch int64, result *fleetv1.TaskResult) (bool, error) {
	id, err := uuid.Parse(result.GetTaskId())
	if err != nil {
		return false, fault.Invalid("task_id", "must be valid UUID").Because(err)
	}
	task, err := s.Store.FinishTaskOf(ctx, cluster, id, epoch, result)
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
