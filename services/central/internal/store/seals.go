package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Entry is a line of the audit log as it is sealed.
type Entry struct {
	ID                                int64
	At                                time.Time
	Actor, Action, Subject, RequestID string
	Customer, Cluster                 uuid.NullUUID
	// Detail is JSON.
	Detail []byte
}

// Seal is an entry's place in the chain.
type Seal struct {
	// Sequence is the position, from 1.
	Sequence int64
	// Version of the encoding that is hashed.
	Version int
	// Hash over the entry and the seal before it.
	Hash []byte
}

// Head is the newest seal's; zero: nothing is sealed.
func (s *Store) Head(ctx context.Context) (Seal, error) {
	row, err := s.q.AuditHead(ctx, s.db)
	if errors.Is(err, pgx.ErrNoRows) {
		return Seal{}, nil
	}
	return Seal{Sequence: row.Sequence, Hash: row.Hash}, wrap("reading", "the head of the audit log", err)
}

// SealNext seals at most limit committed entries and returns how many: none while another
// replica is at it. next makes the seal of an entry behind another seal.
func (s *Store) SealNext(ctx context.Context, limit int, next func(before Seal, e *Entry) (Seal, error)) (int, error) {
	waiting, err := s.q.AuditWaiting(ctx, s.db)
	if err != nil || !waiting {
		return 0, wrap("looking for", "unsealed audit entries", err)
	}
	sealed := 0
	err = s.InTx(ctx, func(tx *Store) error {
		mine, err := tx.q.AuditLock(ctx, tx.db)
		if err != nil || !mine {
			return err
		}
		rows, err := tx.q.AuditPending(ctx, tx.db, int32(limit))
		if err != nil || len(rows) == 0 {
			return err
		}
		head, err := tx.Head(ctx)
		if err != nil {
			return err
		}
		var params centraldb.AuditSealManyParams
		for _, row := range rows {
			head, err = next(head, &Entry{
				ID: row.AuditID, At: row.At, Actor: row.Actor, Action: row.Action, Subject: row.Subject, RequestID: row.RequestID,
				Customer: row.CustomerID, Cluster: row.ClusterID, Detail: row.Detail,
			})
			if err != nil {
				return err
			}
			params.Version = int16(head.Version)
			params.Sequences = append(params.Sequences, head.Sequence)
			params.AuditIds = append(params.AuditIds, row.AuditID)
			params.Hashes = append(params.Hashes, head.Hash)
		}
		sealed = len(rows)
		return errors.Join(tx.q.AuditSealMany(ctx, tx.db, params), tx.q.AuditPendingDone(ctx, tx.db, params.AuditIds))
	})
	return sealed, wrap("sealing", "audit entries", err)
}

// Unsealed is what the log has beside its chain.
type Unsealed struct {
	// Entries without a seal.
	Entries int64
	// Smuggled is the first entry that nobody will ever seal, Taken the first that
	// was taken out before it was sealed; 0: none.
	Smuggled, Taken int64
}

// WalkSeals shows fn every seal in order, with its entry or nil if that is gone, until fn
// returns false. All of it is the log of one moment; little of it is in memory at once.
func (s *Store) WalkSeals(ctx context.Context, fn func(seal Seal, e *Entry) (bool, error)) (Unsealed, error) {
	var rest Unsealed
	err := s.inView(ctx, func(tx *Store) error {
		unsealed, err := tx.q.AuditUnsealed(ctx, tx.db)
		if err != nil {
			return err
		}
		rest = Unsealed{Entries: unsealed.Unsealed, Smuggled: unsealed.Smuggled, Taken: unsealed.Taken}
		return tx.walkSeals(ctx, fn)
	})
	return rest, wrap("reading", "the audit log", err)
}

func (s *Store) walkSeals(ctx context.Context, fn func(Seal, *Entry) (bool, error)) error {
	const batch = 500
	var after int64
	for {
		rows, err := s.q.AuditSealed(ctx, s.db, centraldb.AuditSealedParams{After: after, MaxRows: batch})
		if err != nil {
			return err
		}
		for _, row := range rows {
			entry := &Entry{
				ID: row.AuditID, At: row.At, Actor: row.Actor, Action: row.Action, Subject: row.Subject, RequestID: row.RequestID,
				Customer: row.CustomerID, Cluster: row.ClusterID, Detail: row.Detail,
			}
			if !row.There {
				entry = nil
			}
			goOn, err := fn(Seal{Sequence: row.Sequence, Version: int(row.Version), Hash: row.Hash}, entry)
			if err != nil || !goOn {
				return err
			}
			after = row.Sequence
		}
		if len(rows) < batch {
			return nil
		}
	}
}
