package agents

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// modesWithin bounds the reading of policies for some hundred sessions.
const modesWithin = 2 * time.Second

// settings of an agent: in a cluster that is only watched, it does nothing by itself
// about an instance's notice. The agent keeps that for when central is away.
func (s *Server) settings(watched bool) *agentv1.Settings {
	if !watched {
		return s.Settings
	}
	set := proto.CloneOf(s.Settings)
	set.Interruption = &agentv1.InterruptionPolicy{Parameters: set.GetInterruption().GetParameters()}
	return set
}

// watched are those of the clusters whose mode is read_only.
func (s *Server) watched(ctx context.Context, clusters ...uuid.UUID) (map[uuid.UUID]bool, error) {
	layers, err := s.Store.PolicyLayers(ctx, clusters...)
	if err != nil {
		return nil, err
	}
	watched := make(map[uuid.UUID]bool, len(clusters))
	for _, cluster := range clusters {
		policy, err := guard.Resolve(layers[cluster])
		// What cannot be read lets nothing be done.
		watched[cluster] = err != nil || policy.Mode() == guard.ReadOnly
	}
	return watched, nil
}

// tellModes sends the sessions whose cluster's mode has changed their new settings.
func (s *Server) tellModes(sessions []*session) {
	for some := range slices.Chunk(sessions, touchAtOnce) {
		ctx, cancel := context.WithTimeout(store.ForEveryone(context.Background()), modesWithin)
		clusters := make([]uuid.UUID, 0, len(some))
		for _, sess := range some {
			clusters = append(clusters, sess.cluster)
		}
		watched, err := s.watched(ctx, clusters...)
		cancel()
		if err != nil {
			s.Log.WarnContext(ctx, "looking for modes; agents keep to what they were told last", "sessions", len(some), "error", err)
			return
		}
		for _, sess := range some {
			if now := watched[sess.cluster]; now != sess.watched {
				sess.watched = now
				sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Settings{Settings: s.settings(now)}})
			}
		}
	}
}
