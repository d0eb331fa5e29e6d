package savings

import (
	"context"
	"log/slog"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	meterEvery = time.Minute
	// metersAtOnce bounds one transaction.
	metersAtOnce = 100
	// metersBack is how far back is metered: by the nodes' rows alone, and by the prices of now.
	metersBack = 7 * 24 * time.Hour
)

// Ledger meters what clusters pay and save. Any replica may run one: they share the clusters.
type Ledger struct {
	Store *store.Store
	Log   *slog.Logger
}

// Run meters each minute until ctx ends.
func (l Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(meterEvery)
	defer tick.Stop()
	for {
		if err := l.meter(ctx, nil); err != nil && ctx.Err() == nil {
			l.Log.ErrorContext(ctx, "metering costs and savings; what is missed is metered later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// meter meters all clusters that are due, up to at or to now.
func (l Ledger) meter(ctx context.Context, at *time.Time) error {
	for {
		taken, err := l.Store.Meter(ctx, store.Metering{At: at, Limit: metersAtOnce, Pause: pause, Back: metersBack}, count)
		if err != nil || taken < metersAtOnce {
			return err
		}
	}
}
