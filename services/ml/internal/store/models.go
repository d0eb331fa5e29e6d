package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudoptim/cloudoptim/gen/mldb"
)

// ModelInUse is a model that is live or shadow, without its bytes.
type ModelInUse struct {
	Version, Kind, Format, SHA256, State string
	SizeBytes                            int64
}

// ModelsInUse are the models that shall be live or shadow.
func (s *Store) ModelsInUse(ctx context.Context) ([]ModelInUse, error) {
	rows, err := s.q.ModelsInUse(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("reading models in use: %w", err)
	}
	all := make([]ModelInUse, 0, len(rows))
	for _, r := range rows {
		all = append(all, ModelInUse{
			Version: r.ModelVersion, Kind: r.Kind, Format: r.Format, SHA256: r.Sha256, State: r.State, SizeBytes: r.SizeBytes,
		})
	}
	return all, nil
}

// ModelContent is the bytes of a model, as they were uploaded.
func (s *Store) ModelContent(ctx context.Context, version string) ([]byte, error) {
	content, err := s.q.ModelContent(ctx, s.pool, version)
	if err != nil {
		return nil, fmt.Errorf("reading model %s: %w", version, err)
	}
	return content, nil
}

// SpotInstance runs as a node of a cluster whose agent is heard.
type SpotInstance struct {
	ID, Type, Region, Zone string
	// Since it is known.
	Since time.Time
}

// SpotInstances are at most most of them; the same ones where there are more.
func (s *Store) SpotInstances(ctx context.Context, most int) ([]SpotInstance, error) {
	rows, err := s.q.SpotNodesUp(ctx, s.pool, int32(most))
	if err != nil {
		return nil, fmt.Errorf("reading spot instances: %w", err)
	}
	all := make([]SpotInstance, 0, len(rows))
	for _, r := range rows {
		all = append(all, SpotInstance{ID: r.InstanceID, Type: r.InstanceType, Region: r.Region, Zone: r.AvailabilityZone, Since: r.CreatedAt})
	}
	return all, nil
}

// Fates says which instances AWS interrupted in a time, and which of the others
// ended in it: of those it is not known whether AWS would have.
func (s *Store) Fates(ctx context.Context, ids []string, since, until time.Time) (interrupted, gone []string, err error) {
	interrupted, err = s.q.InterruptedBetween(ctx, s.pool, mldb.InterruptedBetweenParams{InstanceIds: ids, Since: since, Until: until})
	if err != nil {
		return nil, nil, fmt.Errorf("reading interruptions: %w", err)
	}
	ended, err := s.q.EndedUntil(ctx, s.pool, mldb.EndedUntilParams{InstanceIds: ids, Until: &until})
	if err != nil {
		return nil, nil, fmt.Errorf("reading ended nodes: %w", err)
	}
	taken := make(map[string]bool, len(interrupted))
	for _, id := range interrupted {
		taken[id] = true
	}
	for _, id := range ended {
		if !taken[id] {
			gone = append(gone, id)
		}
	}
	return interrupted, gone, nil
}
