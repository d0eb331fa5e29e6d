package agents

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// stopsWithin bounds the reading of stops; what was read last counts until the next time.
const stopsWithin = 2 * time.Second

// tellStops tells the sessions of stops made and lifted since the last time, in one
// reading for all of them: ten thousand heartbeats must not each ask the database.
// While it cannot be read, what was said last is said again.
func (s *Server) tellStops(sessions []*session) {
	ctx, cancel := context.WithTimeout(store.ForEveryone(context.Background()), stopsWithin)
	defer cancel()
	clusters := make([]uuid.UUID, 0, len(sessions))
	for _, sess := range sessions {
		clusters = append(clusters, sess.cluster)
	}
	found, err := s.Store.StopsAmong(ctx, clusters)
	if err != nil {
		s.Log.WarnContext(ctx, "looking for stops; agents are told what was read last", "sessions", len(sessions), "error", err)
		return
	}
	for _, sess := range sessions {
		now := safetyStop(store.Holding(found[sess.cluster]))
		if before := sess.stop.Load(); (before == nil) != (now == nil) || !proto.Equal(before, now) {
			sess.stop.Store(now)
			sess.say(heartbeatAck(now)) // unasked: it must not wait for the next heartbeat
		}
	}
}

// stopIn is the stop that holds in a cluster; nil: none.
func (s *Server) stopIn(ctx context.Context, cluster uuid.UUID) (*agentv1.SafetyStop, error) {
	stop, err := s.Store.StopIn(ctx, cluster)
	return safetyStop(stop), err
}

func safetyStop(stop *adminv1.Stop) *agentv1.SafetyStop {
	if stop == nil {
		return nil
	}
	return &agentv1.SafetyStop{Reason: stop.GetReason(), IncludeInterruptions: stop.GetIncludeInterruptions(), Since: stop.GetCreatedAt()}
}

func heartbeatAck(stop *agentv1.SafetyStop) *agentv1.ConnectResponse {
	return &agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{
		HeartbeatAck: &agentv1.HeartbeatAck{ServerTime: timestamppb.Now(), Stop: stop},
	}}
}
