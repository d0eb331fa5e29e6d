package interruption

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// glanceLasts is how old the state may be in which types are looked for: they
	// change slowly, and reading it for each of two hundred nodes takes seconds.
	glanceLasts  = 10 * time.Second
	glanceWithin = 10 * time.Second
)

// glances are the states of clusters, read once for many replacements.
type glances struct {
	store   *store.Store
	reading singleflight.Group

	mu   sync.Mutex
	seen map[uuid.UUID]glance
}

type glance struct {
	state *fleetv1.ClusterState
	at    time.Time
}

// state is a cluster's, to be read only.
func (g *glances) state(ctx context.Context, cluster uuid.UUID) (*fleetv1.ClusterState, error) {
	g.mu.Lock()
	known := g.seen[cluster]
	g.mu.Unlock()
	if known.state != nil && time.Since(known.at) < glanceLasts {
		return known.state, nil
	}
	// For all who wait, so it does not end with the first of them.
	got, err, _ := g.reading.Do(cluster.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), glanceWithin)
		defer cancel()
		state, err := g.store.ClusterState(ctx, cluster, uuid.NullUUID{})
		if err != nil {
			return nil, err
		}
		g.keep(cluster, glance{state, time.Now()})
		return state, nil
	})
	state, _ := got.(*fleetv1.ClusterState)
	return state, err
}

func (g *glances) keep(cluster uuid.UUID, one glance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, old := range g.seen {
		if time.Since(old.at) >= glanceLasts {
			delete(g.seen, id)
		}
	}
	if g.seen == nil {
		g.seen = map[uuid.UUID]glance{}
	}
	g.seen[cluster] = one
}
