package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Attempt is one try to launch an instance in place of another.
type Attempt struct {
	Number                                    int
	ClientToken, InstanceType, Zone, NodeType string
	// Status: pending, launched, failed.
	Status, InstanceID, Error string
}

// Pool is where instances of one kind come from.
type Pool struct{ InstanceType, Zone, NodeType string }

// String is type/zone/spot or type/zone/on-demand.
func (p Pool) String() string { return p.InstanceType + "/" + p.Zone + "/" + p.NodeType }

// Refusal is a pool that has nothing for now.
type Refusal struct {
	// Account is the role that is assumed.
	Account, Region string
	Pool            Pool
	Reason          string
}

// ClaimReplacement takes a pending replacement for the length of lease; false:
// another is at it, or it is done.
func (s *Store) ClaimReplacement(ctx context.Context, id uuid.UUID, lease time.Duration) (bool, error) {
	n, err := s.q.ReplacementClaim(ctx, s.db, centraldb.ReplacementClaimParams{LeaseSeconds: lease.Seconds(), InterruptionID: id})
	return n > 0, wrap("claiming the replacement of interruption", id.String(), err)
}

// DelayReplacement says when a pending replacement is to be tried again.
func (s *Store) DelayReplacement(ctx context.Context, id uuid.UUID, in time.Duration) error {
	return wrap("delaying the replacement of interruption", id.String(), s.q.ReplacementWait(ctx, s.db,
		centraldb.ReplacementWaitParams{Seconds: in.Seconds(), InterruptionID: id}))
}

// OrphanedReplacements are pending ones that nobody has been at for that long;
// each is handed out once.
func (s *Store) OrphanedReplacements(ctx context.Context, late time.Duration) ([]uuid.UUID, error) {
	ids, err := s.q.ReplacementOrphans(ctx, s.db, late.Seconds())
	return ids, wrap("looking for", "orphaned replacements", err)
}

// AddAttempt writes a try; when one of that number is there already, that one stands.
func (s *Store) AddAttempt(ctx context.Context, id uuid.UUID, a Attempt) error {
	return wrap("writing a launch of interruption", id.String(), s.q.ReplacementAttemptCreate(ctx, s.db,
		centraldb.ReplacementAttemptCreateParams{
			InterruptionID: id, Attempt: int32(a.Number), ClientToken: a.ClientToken, InstanceType: a.InstanceType,
			AvailabilityZone: a.Zone, NodeType: a.NodeType,
		}))
}

// Attempts to replace, in order.
func (s *Store) Attempts(ctx context.Context, id uuid.UUID) ([]Attempt, error) {
	rows, err := s.q.ReplacementAttempts(ctx, s.db, id)
	out := make([]Attempt, 0, len(rows))
	for _, row := range rows {
		out = append(out, Attempt{
			Number: int(row.Attempt), ClientToken: row.ClientToken, InstanceType: row.InstanceType, Zone: row.AvailabilityZone,
			NodeType: row.NodeType, Status: row.Status, InstanceID: row.InstanceID, Error: row.Error,
		})
	}
	return out, wrap("reading launches of interruption", id.String(), err)
}

// SetAttempt notes how a pending try ended.
func (s *Store) SetAttempt(ctx context.Context, id uuid.UUID, a Attempt) error {
	return wrap("writing a launch of interruption", id.String(), s.q.ReplacementAttemptSet(ctx, s.db,
		centraldb.ReplacementAttemptSetParams{
			Status: a.Status, InstanceID: a.InstanceID, Error: a.Error, InterruptionID: id, Attempt: int32(a.Number),
		}))
}

// RefusePool remembers that a pool has nothing for some time.
func (s *Store) RefusePool(ctx context.Context, r Refusal, lasts time.Duration) error {
	return wrap("remembering pool", r.Pool.String(), s.q.PoolRefuse(ctx, s.db, centraldb.PoolRefuseParams{
		Account: r.Account, Region: r.Region, AvailabilityZone: r.Pool.Zone, InstanceType: r.Pool.InstanceType,
		NodeType: r.Pool.NodeType, Reason: r.Reason, Seconds: lasts.Seconds(),
	}))
}

// RefusedPools of an account in a region.
func (s *Store) RefusedPools(ctx context.Context, account, region string) ([]Pool, error) {
	rows, err := s.q.PoolRefusals(ctx, s.db, centraldb.PoolRefusalsParams{Account: account, Region: region})
	out := make([]Pool, 0, len(rows))
	for _, row := range rows {
		out = append(out, Pool{InstanceType: row.InstanceType, Zone: row.AvailabilityZone, NodeType: row.NodeType})
	}
	return out, wrap("reading", "refused pools", err)
}

// PruneRefusals forgets pools whose time is long over.
func (s *Store) PruneRefusals(ctx context.Context) error {
	return wrap("pruning", "refused pools", s.q.PoolRefusalsPrune(ctx, s.db))
}
