package interruption

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	attendEvery = 500 * time.Millisecond
	// attendLease is how long the others leave an interruption alone that one
	// replica looks at: should it die, another goes on then.
	attendLease  = 10 * time.Second
	attendOnce   = 8 * time.Second
	attendMany   = 64
	attendAtOnce = 8
	orphansEvery = 2 * time.Second
	// orphanAfter is more than a job waits for its turn.
	orphanAfter = 5 * time.Second
)

// attend looks after the open interruptions until ctx ends. Every replica does;
// each interruption is looked at by one at a time.
func (s *Service) attend(ctx context.Context) {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	orphans := time.NewTicker(orphansEvery)
	defer orphans.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err = s.attendAll(ctx)
		case <-orphans.C:
			err = s.adopt(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "looking after interruptions", "error", err)
		}
	}
}

func (s *Service) attendAll(ctx context.Context) error {
	ids, err := s.Store.ClaimInterruptions(ctx, attendLease, attendMany)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	room := make(chan struct{}, attendAtOnce)
	for _, id := range ids {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			s.look(ctx, id)
		})
	}
	all.Wait()
	return nil
}

// adopt starts replacements anew whose job died with its replica.
func (s *Service) adopt(ctx context.Context) error {
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		ids, err := tx.OrphanedReplacements(ctx, orphanAfter)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.queue.Enqueue(ctx, tx, replaceJob{InterruptionID: id}); err != nil {
				return err
			}
		}
		return nil
	})
}

// look does what can be done now, and says when to look again.
func (s *Service) look(ctx context.Context, id uuid.UUID) {
	bounded, cancel := context.WithTimeout(ctx, attendOnce)
	defer cancel()
	again, err := s.follow(bounded, id)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		s.Log.WarnContext(ctx, "following up an interruption; it is tried again", "interruption_id", id, "error", err)
		again = 2 * time.Second
	}
	if err := s.Store.WakeInterruption(ctx, id, again); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "following up an interruption", "interruption_id", id, "error", err)
	}
}
