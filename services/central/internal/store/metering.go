package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// MeteredNode is an instance while it is, or was, a node of a cluster.
type MeteredNode struct {
	// Instance may be empty.
	Instance string
	Spot     bool
	// Until is zero while it runs.
	From, Until time.Time
	// Price is millionths of a USD per hour; 0: not known.
	Price int64
	// CPU is thousandths of a CPU.
	CPU int64
}

// Swap is what CloudOptim put in the place of what.
type Swap struct {
	ID uuid.UUID
	// Mechanism is an optimization's type, or interruption.
	Mechanism string
	// CPUBefore is thousandths of a CPU that the cluster had when it was decided; 0: not known.
	CPUBefore int64
	// Over: nothing more will be launched or taken away.
	Over bool
	// CompletedAt is when the optimization ended; zero: it has not.
	CompletedAt time.Time
	// Launched are instances.
	Launched []string
	Taken    []TakenNode
}

// TakenNode is an instance that was taken away, or is being.
type TakenNode struct {
	Instance string
	// Price when it was decided, millionths of a USD per hour; 0: not known.
	Price int64
}

// Span is a cluster between two instants, to be metered.
type Span struct {
	Cluster     uuid.UUID
	From, Until time.Time
	// Nodes that run, have run since, or are of a swap.
	Nodes []MeteredNode
	// Swaps, the oldest first.
	Swaps []Swap
}

// Metered is what a span comes to. Amounts are millionths of a USD per hour times
// milliseconds: 3.6e12 are a USD.
type Metered struct {
	Hours []MeteredHour
	Swaps []MeteredSwap
}

// MeteredHour is a part of a span within one hour.
type MeteredHour struct {
	Hour   time.Time
	Actual int64
	// Saved by mechanism.
	Saved map[string]int64
	// Milliseconds of nodes, and of the hour.
	SpotMs, OnDemandMs, UnpricedMs, MeteredMs int64
}

// MeteredSwap is what a span adds to a swap.
type MeteredSwap struct {
	ID uuid.UUID
	// Realised is what it saved, PromisedMs for how many milliseconds it had promised to.
	Realised, PromisedMs int64
	// Changed: it has launched or taken away something. Idle: nothing is left of it.
	Changed, Idle bool
}

// Metering says what is metered.
type Metering struct {
	// At is up to when; nil: some seconds ago, by the database's clock.
	At *time.Time
	// Limit of clusters at once.
	Limit int
	// Pause is how long a span may be before its cluster counts as having been silent: then it is
	// metered in the next round only, when it has told what it has now.
	Pause time.Duration
	// Back is how far back is metered at most.
	Back time.Duration
}

// Meter takes clusters that were not metered for a minute and that nobody else is at, and writes
// what count says that they came to, in one transaction. It returns how many it took.
func (s *Store) Meter(ctx context.Context, m Metering, count func(Span) Metered) (int, error) {
	taken := 0
	err := s.InTx(ctx, func(tx *Store) error {
		at, err := tx.q.MeterNow(ctx, tx.db, m.At)
		if err != nil {
			return err
		}
		if err := tx.q.MeterBegin(ctx, tx.db, at); err != nil {
			return err
		}
		due, err := tx.q.MeterDue(ctx, tx.db, centraldb.MeterDueParams{At: at, MaxRows: int32(m.Limit)})
		if err != nil || len(due) == 0 {
			return err
		}
		taken = len(due)
		var spans []*Span
		var returned []uuid.UUID
		for _, row := range due {
			if at.Sub(row.MeteredUntil) > m.Pause && (row.ReturnedAt == nil || at.Sub(*row.ReturnedAt) > m.Pause) {
				returned = append(returned, row.ClusterID)
				continue
			}
			from := row.MeteredUntil
			if oldest := at.Add(-m.Back); from.Before(oldest) {
				from = oldest
			}
			spans = append(spans, &Span{Cluster: row.ClusterID, From: from, Until: at})
		}
		return errors.Join(tx.q.MeterReturned(ctx, tx.db, centraldb.MeterReturnedParams{At: at, ClusterIds: returned}),
			tx.meter(ctx, at, spans, count))
	})
	return taken, wrap("metering", "clusters", err)
}

func (s *Store) meter(ctx context.Context, at time.Time, spans []*Span, count func(Span) Metered) error {
	if len(spans) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, 0, len(spans))
	for _, span := range spans {
		ids = append(ids, span.Cluster)
	}
	if err := s.fillSpans(ctx, at, ids, spans); err != nil {
		return err
	}
	var hours centraldb.MeterAddParams
	swaps := centraldb.MeterRealiseParams{At: at}
	for _, span := range spans {
		metered := count(*span)
		addHours(&hours, span.Cluster, metered.Hours)
		for _, swap := range metered.Swaps {
			swaps.SwapIds = append(swaps.SwapIds, swap.ID)
			swaps.Realised = append(swaps.Realised, swap.Realised)
			swaps.PromisedMs = append(swaps.PromisedMs, swap.PromisedMs)
			swaps.Changed = append(swaps.Changed, swap.Changed)
			swaps.Idle = append(swaps.Idle, swap.Idle)
		}
	}
	return errors.Join(s.q.MeterAdd(ctx, s.db, hours), s.q.MeterRealise(ctx, s.db, swaps),
		s.q.MeterAdvance(ctx, s.db, centraldb.MeterAdvanceParams{At: at, ClusterIds: ids}))
}

func addHours(p *centraldb.MeterAddParams, cluster uuid.UUID, hours []MeteredHour) {
	for _, hour := range hours {
		p.ClusterIds = append(p.ClusterIds, cluster)
		p.Hours = append(p.Hours, hour.Hour)
		p.Actuals = append(p.Actuals, hour.Actual)
		p.SpotOptimizes = append(p.SpotOptimizes, hour.Saved["spot_optimize"])
		p.BinPacks = append(p.BinPacks, hour.Saved["bin_pack"])
		p.Rightsizes = append(p.Rightsizes, hour.Saved["rightsize"])
		p.Schedules = append(p.Schedules, hour.Saved["schedule"])
		p.Interruptions = append(p.Interruptions, hour.Saved["interruption"])
		p.SpotMs = append(p.SpotMs, hour.SpotMs)
		p.OnDemandMs = append(p.OnDemandMs, hour.OnDemandMs)
		p.UnpricedMs = append(p.UnpricedMs, hour.UnpricedMs)
		p.MeteredMs = append(p.MeteredMs, hour.MeteredMs)
	}
}

// fillSpans reads what the spans' clusters had.
func (s *Store) fillSpans(ctx context.Context, at time.Time, ids []uuid.UUID, spans []*Span) error {
	instances, err := s.fillSwaps(ctx, at, ids, spans)
	if err != nil {
		return err
	}
	byID := make(map[uuid.UUID]*Span, len(spans))
	params := centraldb.MeterNodesParams{ClusterIds: ids, InstanceIds: orEmpty(instances)}
	for _, span := range spans {
		byID[span.Cluster] = span
		params.Untils = append(params.Untils, span.From)
	}
	rows, err := s.q.MeterNodes(ctx, s.db, params)
	if err != nil {
		return err
	}
	for _, row := range rows {
		span := byID[row.ClusterID]
		span.Nodes = append(span.Nodes, MeteredNode{
			Instance: row.InstanceID, Spot: row.NodeType == "spot", From: row.CreatedAt, Until: value(row.TerminatedAt), Price: row.Price, CPU: row.Cpu,
		})
	}
	return nil
}

// fillSwaps reads the swaps of which something may be left, and returns their instances.
func (s *Store) fillSwaps(ctx context.Context, at time.Time, ids []uuid.UUID, spans []*Span) ([]string, error) {
	rows, err := s.q.MeterSwaps(ctx, s.db, centraldb.MeterSwapsParams{ClusterIds: ids, At: at})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	swapIDs := make([]uuid.UUID, 0, len(rows))
	for _, row := range rows {
		swapIDs = append(swapIDs, row.SwapID)
	}
	parts, err := s.q.MeterSwapNodes(ctx, s.db, swapIDs)
	if err != nil {
		return nil, err
	}
	launched, taken := map[uuid.UUID][]string{}, map[uuid.UUID][]TakenNode{}
	var instances []string
	for _, part := range parts {
		instances = append(instances, part.InstanceID)
		if part.Launched {
			launched[part.SwapID] = append(launched[part.SwapID], part.InstanceID)
		} else {
			taken[part.SwapID] = append(taken[part.SwapID], TakenNode{Instance: part.InstanceID, Price: part.Price})
		}
	}
	swaps := map[uuid.UUID][]Swap{}
	for _, row := range rows {
		swaps[row.ClusterID] = append(swaps[row.ClusterID], Swap{
			ID: row.SwapID, Mechanism: row.Mechanism, CPUBefore: row.CpuBefore, Over: row.Over, CompletedAt: value(row.CompletedAt),
			Launched: launched[row.SwapID], Taken: taken[row.SwapID],
		})
	}
	for _, span := range spans {
		span.Swaps = swaps[span.Cluster]
	}
	return instances, nil
}

// PruneSavings forgets hours of more than 13 months ago.
func (s *Store) PruneSavings(ctx context.Context) error {
	return wrap("pruning", "savings", s.q.SavingPrune(ctx, s.db))
}
