package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
	"github.com/cloudoptim/cloudoptim/services/central/internal/usage"
)

// keepDryRuns is how long plans are kept that CloudOptim made by itself and did not carry out.
const keepDryRuns = 7 * 24 * time.Hour

// housekeeper does what must be done now and then, by whichever replica comes first.
type housekeeper struct {
	store *store.Store
	log   *slog.Logger
	keep  time.Duration
}

// Run keeps house until ctx ends.
func (h housekeeper) Run(ctx context.Context) error {
	if err := h.store.KeepPartitions(ctx, h.keep); err != nil {
		return err // without them every report would fall into the default partition
	}
	often, hourly := time.NewTicker(20*time.Second), time.NewTicker(time.Hour)
	defer often.Stop()
	defer hourly.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-often.C:
			err = errors.Join(h.markOffline(ctx), h.store.NoteSilences(ctx))
		case <-hourly.C:
			err = errors.Join(h.store.KeepPartitions(ctx, h.keep), h.store.PruneEvents(ctx), h.store.PruneRefusals(ctx),
				h.store.PruneTraining(ctx, h.keep), h.store.PruneSavings(ctx), h.store.PruneActivity(ctx), h.store.PrunePredictions(ctx),
				h.store.PruneSignIns(ctx), h.store.PruneDryRuns(ctx, keepDryRuns), h.store.PruneUsage(ctx, usage.Keep))
		}
		if err != nil && ctx.Err() == nil {
			h.log.ErrorContext(ctx, "keeping house", "error", err)
		}
	}
}

func (h housekeeper) markOffline(ctx context.Context) error {
	var gone map[uuid.UUID]uuid.UUID
	err := h.store.InTx(ctx, func(tx *store.Store) (err error) {
		if gone, err = tx.MarkOffline(ctx); err != nil {
			return err
		}
		for cluster, customer := range gone {
			if err := tx.Tell(ctx, customer, &adminv1.StreamResponse{
				Type: "cluster", Status: "offline", ClusterId: cluster.String(), Message: "its agent has been silent for three minutes",
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for cluster := range gone {
		h.log.WarnContext(ctx, "the agent of a cluster is silent", "cluster_id", cluster)
	}
	return nil
}
