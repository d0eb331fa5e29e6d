package store

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Told is a message for the dashboards with its place in the stream.
type Told struct {
	Message *adminv1.StreamResponse
	// Wire is the same as protobuf.
	Wire []byte
	// Customer it is for; null: the platform's staff alone.
	Customer uuid.NullUUID
	// Withheld: its customer may not see it any more.
	Withheld bool
}

// Missed is what a reader has not seen yet.
type Missed struct {
	// Count stops at what was asked for.
	Count int
	// Since is when the first of it was told.
	Since time.Time
}

// Only says which messages are meant.
type Only struct {
	Customer, Cluster, Optimization uuid.NullUUID
	// Types; empty: all.
	Types []string
	// Severity: info, warning or error, this and worse; empty: all.
	Severity string
}

// sequenceField is the number of StreamResponse.sequence.
const sequenceField = 11

// severities by how bad they are.
var severities = map[string]int32{"": 0, "info": 0, "warning": 1, "error": 2}

// OnTell has hear called whenever something that was told is committed.
func (s *Store) OnTell(hear func()) { s.hear.Store(&hear) }

// Tell keeps a message for the dashboards of a customer, and of the platform's staff
// (uuid.Nil: of those alone). In a transaction it stands or falls with what it tells
// about. It is in the stream as soon as it is numbered, which NumberActivity does.
func (s *Store) Tell(ctx context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error {
	what, ok := proto.Clone(what).(*adminv1.StreamResponse)
	if !ok {
		return nil
	}
	what.Sequence = 0
	if what.Timestamp == nil {
		what.Timestamp = timestamppb.Now()
	}
	if what.Severity == "" {
		what.Severity = severity(what)
	}
	raw, err := proto.Marshal(what)
	if err != nil {
		return wrap("encoding news", what.GetType(), err)
	}
	row := centraldb.ActivityCreateParams{
		CustomerID: uuid.NullUUID{UUID: customer, Valid: customer != uuid.Nil}, ClusterID: maybe(what.GetClusterId()),
		OptimizationID: maybe(what.GetOptimizationId()), Type: what.GetType(), Severity: severities[what.GetSeverity()], Message: raw,
	}
	if s.tx != nil {
		*s.told = true
		return wrap("keeping news", what.GetType(), s.q.ActivityCreate(ctx, s.db, row))
	}
	if err := s.q.ActivityCreateAlone(ctx, s.db, centraldb.ActivityCreateAloneParams(row)); err != nil {
		return wrap("keeping news", what.GetType(), err)
	}
	s.announce()
	return nil
}

func (s *Store) announce() {
	if hear := s.hear.Load(); hear != nil {
		(*hear)()
	}
}

// severity of a message that does not say it.
func severity(what *adminv1.StreamResponse) string {
	done := what.GetSpotEvent().GetActionTaken()
	switch {
	case what.GetType() == "optimization_complete" && what.GetStatus() == "failed",
		strings.Contains(done, "drain_failed"), strings.Contains(done, "replacement_failed"):
		return "error"
	case what.GetStatus() == "failed", what.GetStatus() == "offline",
		strings.Contains(done, "drain_blocked"), strings.Contains(done, "drained_forced"):
		return "warning"
	default:
		return "info"
	}
}

func maybe(id string) uuid.NullUUID {
	parsed, err := uuid.Parse(id)
	return uuid.NullUUID{UUID: parsed, Valid: err == nil}
}

// NumberActivity gives up to limit messages that are committed and have no number yet
// the next ones, and returns how many it found.
//
// A reader who has seen number n never misses a smaller one that comes later:
// whoever numbers holds the one row of activity_head until its numbers are visible
// to all (PostgreSQL lets go of locks after that), and the next one begins to look for
// rows only then. An identity or a sequence would not do: its values are drawn before the
// commit and become visible in any order. Those who tell never wait, neither for
// each other nor for this: they insert, and this alone updates. It waits for nobody who
// may wait for it: it takes the head first, and then rows that nobody else touches.
func (s *Store) NumberActivity(ctx context.Context, limit int) (int, error) {
	waiting, err := s.q.ActivityWaiting(ctx, s.db)
	if err != nil || !waiting {
		return 0, wrap("looking for", "news", err)
	}
	var n int64
	err = s.InTx(ctx, func(tx *Store) error {
		head, err := tx.q.ActivityLock(ctx, tx.db)
		if err != nil {
			return err
		}
		n, err = tx.q.ActivityNumber(ctx, tx.db, centraldb.ActivityNumberParams{Head: head, MaxRows: int32(limit)})
		if err != nil || n == 0 {
			return err
		}
		return tx.q.ActivityNumbered(ctx, tx.db, head+n)
	})
	return int(n), wrap("numbering", "news", err)
}

// ActivityHead is the newest number, and the newest of those that were deleted.
func (s *Store) ActivityHead(ctx context.Context) (newest, pruned int64, err error) {
	row, err := s.q.ActivityHead(ctx, s.db)
	return row.Sequence, row.Pruned, wrap("reading", "the newest number", err)
}

// ActivityAfter is what was told behind a number, to whomever, oldest first.
func (s *Store) ActivityAfter(ctx context.Context, after int64, limit int) ([]Told, error) {
	rows, err := s.q.ActivityAfter(ctx, s.db, centraldb.ActivityAfterParams{After: after, MaxRows: int32(limit)})
	if err != nil {
		return nil, wrap("reading", "news", err)
	}
	all := make([]Told, 0, len(rows))
	for _, row := range rows {
		message, err := news(row.Sequence, row.Message)
		if err != nil {
			return nil, err
		}
		// The sequence is a field behind the others.
		wire := protowire.AppendVarint(protowire.AppendTag(row.Message, sequenceField, protowire.VarintType), uint64(row.Sequence)) //nolint:gosec // above 0
		all = append(all, Told{Message: message, Wire: wire, Customer: row.CustomerID, Withheld: row.Withheld})
	}
	return all, nil
}

// MissedActivity is how much of only lies behind after and not behind until,
// counted up to limit.
func (s *Store) MissedActivity(ctx context.Context, only Only, after, until int64, limit int) (Missed, error) {
	row, err := s.q.ActivityMissed(ctx, s.db, centraldb.ActivityMissedParams{
		After: after, Until: until, CustomerID: only.Customer, ClusterID: only.Cluster, Types: all(only.Types), MaxRows: int32(limit),
	})
	return Missed{Count: int(row.Missed), Since: row.Since}, wrap("counting", "missed news", err)
}

// ReplayActivity is the first of only that lie behind after and not behind until.
func (s *Store) ReplayActivity(ctx context.Context, only Only, after, until int64, limit int) ([]*adminv1.StreamResponse, error) {
	rows, err := s.q.ActivityReplay(ctx, s.db, centraldb.ActivityReplayParams{
		After: after, Until: until, CustomerID: only.Customer, ClusterID: only.Cluster, Types: all(only.Types), MaxRows: int32(limit),
	})
	if err != nil {
		return nil, wrap("reading", "missed news", err)
	}
	out := make([]*adminv1.StreamResponse, 0, len(rows))
	for _, row := range rows {
		message, err := news(row.Sequence, row.Message)
		if err != nil {
			return nil, err
		}
		out = append(out, message)
	}
	return out, nil
}

// ListActivity is a page of what was told, newest first, and the next page's token.
func (s *Store) ListActivity(ctx context.Context, only Only, page Page) ([]*adminv1.StreamResponse, string, error) {
	before := int64(math.MaxInt64)
	if page.After != nil {
		var err error
		if before, err = page.After.number(); err != nil {
			return nil, "", err
		}
	}
	rows, err := s.q.ActivityList(ctx, s.db, centraldb.ActivityListParams{
		Before: before, MinSeverity: severities[only.Severity], CustomerID: only.Customer, ClusterID: only.Cluster,
		OptimizationID: only.Optimization, Types: all(only.Types), MaxRows: int32(page.Limit + 1),
	})
	if err != nil {
		return nil, "", wrap("listing", "activity", err)
	}
	rows, token, err := Cut(page, rows, func(row centraldb.ActivityListRow) Cursor { return numbered(row.Sequence) })
	if err != nil {
		return nil, "", wrap("listing", "activity", err)
	}
	out := make([]*adminv1.StreamResponse, 0, len(rows))
	for _, row := range rows {
		message, err := news(row.Sequence, row.Message)
		if err != nil {
			return nil, "", err
		}
		out = append(out, message)
	}
	return out, token, nil
}

// pruneAtOnce keeps the head's lock short.
const pruneAtOnce = 1000

// PruneActivity deletes what was told more than thirty days ago.
func (s *Store) PruneActivity(ctx context.Context) error {
	for {
		n, err := s.q.ActivityPrune(ctx, s.db, pruneAtOnce)
		if err != nil || n < pruneAtOnce {
			return wrap("deleting", "old activity", err)
		}
	}
}

// news reads a row; a field that a newer replica wrote is passed on unread.
func news(sequence int64, raw []byte) (*adminv1.StreamResponse, error) {
	message := &adminv1.StreamResponse{}
	if err := proto.Unmarshal(raw, message); err != nil {
		return nil, wrap("reading", "news", err)
	}
	message.Sequence = sequence
	return message, nil
}

// all types when none is given: SQL's null would be none.
func all(types []string) []string {
	if types == nil {
		return []string{}
	}
	return types
}
