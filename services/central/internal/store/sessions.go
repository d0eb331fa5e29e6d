package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Opening is what a session begins with.
type Opening struct {
	Cluster uuid.UUID
	// Replica holds the stream.
	Replica string
	// AgentID names the agent, LeaderEpoch the lease by which it leads, 0 for none.
	AgentID     string
	LeaderEpoch int64
	// Version is the agent's build.
	Version string
	// KubernetesVersion of the cluster, "" if it is not known.
	KubernetesVersion string
}

// OpenSession makes a new session the one that is heard.
func (s *Store) OpenSession(ctx context.Context, cluster uuid.UUID, replica, kubernetesVersion string) (*Session, error) {
	return s.OpenSessionOf(ctx, Opening{Cluster: cluster, Replica: replica, KubernetesVersion: kubernetesVersion})
}

// OpenSessionOf is OpenSession for an agent that says who it is. It is refused
// as superseded when an agent with a newer lease has been heard of lately.
func (s *Store) OpenSessionOf(ctx context.Context, o Opening) (*Session, error) {
	id := uuid.New()
	if runes := []rune(o.KubernetesVersion); len(runes) > maxVersion {
		o.KubernetesVersion = string(runes[:maxVersion])
	}
	row, err := s.q.ClusterSessionOpen(ctx, s.db, centraldb.ClusterSessionOpenParams{
		SessionID: some(id), SessionReplica: text(o.Replica), K8sVersion: o.KubernetesVersion, ClusterID: o.Cluster,
		SessionAgentID: o.AgentID, LeaderEpoch: o.LeaderEpoch, AgentVersion: o.Version,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		if refused := s.Connected(ctx, o.Cluster); refused != nil {
			return nil, refused
		}
		return nil, errSuperseded()
	}
	if err != nil {
		return nil, wrap("cluster", o.Cluster.String(), err)
	}
	return &Session{
		ID: id, Epoch: row.SessionEpoch, InventorySequence: row.InventorySequence, Work: row.Work,
		Twin: row.OpenBefore && row.AgentBefore != "" && row.AgentBefore != o.AgentID && row.LeaderBefore == o.LeaderEpoch,
	}, nil
}

// TouchSession notes that the session lives; false: a newer one has taken over.
func (s *Store) TouchSession(ctx context.Context, cluster uuid.UUID, epoch int64) (bool, error) {
	live, err := s.TouchSessions(ctx, map[uuid.UUID]int64{cluster: epoch})
	return len(live) > 0, err
}

// TouchSessions notes that sessions live, by the clusters' epochs, in one
// statement. Those that are not returned were superseded.
func (s *Store) TouchSessions(ctx context.Context, epochs map[uuid.UUID]int64) (map[uuid.UUID]bool, error) {
	params := centraldb.ClusterSessionTouchParams{
		ClusterIds: make([]uuid.UUID, 0, len(epochs)), SessionEpochs: make([]int64, 0, len(epochs)),
	}
	for cluster, epoch := range epochs {
		params.ClusterIds, params.SessionEpochs = append(params.ClusterIds, cluster), append(params.SessionEpochs, epoch)
	}
	rows, err := s.q.ClusterSessionTouch(ctx, s.db, params)
	live := make(map[uuid.UUID]bool, len(rows))
	for _, cluster := range rows {
		live[cluster] = true
	}
	return live, wrap("touching", "sessions", err)
}

// CloseSession ends a session, unless a newer one has taken over.
func (s *Store) CloseSession(ctx context.Context, cluster uuid.UUID, epoch int64) error {
	err := s.q.ClusterSessionClose(ctx, s.db, centraldb.ClusterSessionCloseParams{ClusterID: cluster, SessionEpoch: epoch})
	return wrap("closing session of cluster", cluster.String(), err)
}
