package audit

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	sealEvery = 500 * time.Millisecond
	// batch bounds one transaction.
	batch = 500
)

// Sealer seals entries soon after they are committed. Any replica may run one.
type Sealer struct {
	Store *store.Store
	Log   *slog.Logger
}

// Run seals until ctx ends.
func (s Sealer) Run(ctx context.Context) error {
	tick, anchor := time.NewTicker(sealEvery), time.NewTicker(anchorEvery)
	defer tick.Stop()
	defer anchor.Stop()
	trouble := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-anchor.C:
			err = s.anchor(ctx)
		case <-tick.C:
			err = s.Seal(ctx)
		}
		if err != nil && ctx.Err() == nil && !trouble { // once, not twice a second
			s.Log.ErrorContext(ctx, "sealing the audit log; entries wait until it works", "error", err)
		}
		trouble = err != nil
	}
}

// Seal seals what is committed, unless another replica is at it.
func (s Sealer) Seal(ctx context.Context) error {
	for {
		sealed, err := s.Store.SealNext(ctx, batch, next)
		if err != nil || sealed < batch {
			return err
		}
	}
}

func (s Sealer) anchor(ctx context.Context) error {
	head, err := s.Store.Head(ctx)
	if err != nil || head.Sequence == 0 {
		return err
	}
	s.Log.InfoContext(ctx, "head of the audit log", "sequence", head.Sequence, "hash", hex.EncodeToString(head.Hash))
	return nil
}
