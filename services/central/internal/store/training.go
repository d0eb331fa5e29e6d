package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// GapRun is one analysis or filling of gaps.
type GapRun struct {
	ID uuid.UUID
	// Kind is analyze or fill.
	Kind, AskedBy string
	Cluster       uuid.NullUUID
	TrainingDate  time.Time
	LookbackDays  int32
}

// StartGapRun writes that one begins. The caller of a fill holds its lock: whatever
// fill is still open was left by a replica that died, and is ended with this.
func (s *Store) StartGapRun(ctx context.Context, run GapRun) error {
	return s.InTx(ctx, func(tx *Store) error {
		if run.Kind == "fill" {
			if err := tx.q.GapRunAbandon(ctx, tx.db, run.ID); err != nil {
				return wrap("ending abandoned", "gap runs", err)
			}
		}
		err := tx.q.GapRunStart(ctx, tx.db, centraldb.GapRunStartParams{
			RunID: run.ID, Kind: run.Kind, AskedBy: run.AskedBy, ClusterID: run.Cluster,
			ModelTrainingDate: run.TrainingDate, LookbackDays: run.LookbackDays,
		})
		return wrap("starting gap run", run.ID.String(), err)
	})
}

// FinishGapRun writes how one ended; coverage is nil for a fill, failure empty if it
// went well.
func (s *Store) FinishGapRun(ctx context.Context, run uuid.UUID, found int32, coverage *float64, failure string) error {
	err := s.q.GapRunFinish(ctx, s.db, centraldb.GapRunFinishParams{RunID: run, GapsFound: found, Coverage: coverage, Error: failure})
	return wrap("finishing gap run", run.String(), err)
}

// Filled counts what a fill wrote, gap by gap: one may come on several pages.
type Filled struct {
	seen    map[string]bool
	Records int32
}

// Gaps that got rows.
func (f *Filled) Gaps() int32 { return int32(len(f.seen)) }

// AddFilledRows writes a page of rows for gaps, all or none. Rows that are there are
// left alone and not counted; an imputed row never comes beside an observed one.
func (s *Store) AddFilledRows(ctx context.Context, run uuid.UUID, gaps []*mlv1.FilledGap, sum *Filled) error {
	fresh := map[string]int32{}
	err := s.InTx(ctx, func(tx *Store) error {
		for _, gap := range gaps {
			n, err := tx.addReports(ctx, run, gap)
			if err != nil {
				return err
			}
			fresh[gapKey(gap)] += n
		}
		if err := tx.addSpotPrices(ctx, run, gaps, fresh); err != nil {
			return err
		}
		var records, filled int32
		for key, n := range fresh {
			records += n
			if n > 0 && !sum.seen[key] {
				filled++
			}
		}
		err := tx.q.GapRunAdd(ctx, tx.db, centraldb.GapRunAddParams{RunID: run, Gaps: filled, Records: records})
		return wrap("counting for gap run", run.String(), err)
	})
	if err != nil {
		return err
	}
	for key, n := range fresh {
		sum.Records += n
		if n > 0 {
			if sum.seen == nil {
				sum.seen = map[string]bool{}
			}
			sum.seen[key] = true
		}
	}
	return nil
}

func gapKey(gap *mlv1.FilledGap) string {
	return fmt.Sprint(gap.GetSeries(), "@", gap.GetStart().AsTime().UnixMilli())
}

func (s *Store) addReports(ctx context.Context, run uuid.UUID, gap *mlv1.FilledGap) (int32, error) {
	if len(gap.GetReports()) == 0 {
		return 0, nil
	}
	cluster, err := uuid.Parse(gap.GetClusterId())
	if err != nil {
		return 0, fmt.Errorf("reading the cluster of %s: %w", gap.GetSeries(), err)
	}
	if gap.GetMethod() == "" || !(gap.GetStepSeconds() > 0) {
		return 0, errors.New("a gap of reports needs its method and step")
	}
	rows := centraldb.MetricsImputeParams{
		ClusterID: cluster, Method: gap.GetMethod(), RunID: run, StepSeconds: float32(gap.GetStepSeconds()),
	}
	for _, r := range gap.GetReports() {
		rows.Ats = append(rows.Ats, r.GetAt().AsTime())
		rows.TotalNodes = append(rows.TotalNodes, whole(r.GetTotalNodes()))
		rows.SpotNodes = append(rows.SpotNodes, whole(r.GetSpotNodes()))
		rows.OnDemandNodes = append(rows.OnDemandNodes, whole(r.GetOnDemandNodes()))
		rows.TotalCpus = append(rows.TotalCpus, r.GetTotalCpu())
		rows.TotalMemories = append(rows.TotalMemories, r.GetTotalMemoryGb())
		rows.AllocatedCpus = append(rows.AllocatedCpus, r.GetAllocatedCpu())
		rows.AllocatedMemories = append(rows.AllocatedMemories, r.GetAllocatedMemoryGb())
		rows.TotalPods = append(rows.TotalPods, whole(r.GetTotalPods()))
		rows.RunningPods = append(rows.RunningPods, whole(r.GetRunningPods()))
		rows.PendingPods = append(rows.PendingPods, whole(r.GetPendingPods()))
		rows.Costs = append(rows.Costs, r.GetCostPerHour())
	}
	written, err := s.q.MetricsImpute(ctx, s.db, rows)
	return int32(len(written)), wrap("imputing metrics of cluster", cluster.String(), err)
}

// whole nodes and pods.
func whole(v float64) int32 { return int32(min(max(0, math.Round(v)), math.MaxInt32)) }

func (s *Store) addSpotPrices(ctx context.Context, run uuid.UUID, gaps []*mlv1.FilledGap, fresh map[string]int32) error {
	rows, of := centraldb.SpotPriceInsertManyParams{Method: "aws_history", RunID: run}, map[string]string{}
	for _, gap := range gaps {
		for _, p := range gap.GetSpotPrices() {
			of[poolTime(p.GetRegion(), p.GetAvailabilityZone(), p.GetInstanceType(), p.GetAt().AsTime())] = gapKey(gap)
			rows.Regions = append(rows.Regions, p.GetRegion())
			rows.Zones = append(rows.Zones, p.GetAvailabilityZone())
			rows.InstanceTypes = append(rows.InstanceTypes, p.GetInstanceType())
			rows.Ats = append(rows.Ats, p.GetAt().AsTime())
			rows.Prices = append(rows.Prices, p.GetPrice())
		}
	}
	if len(rows.Ats) == 0 {
		return nil
	}
	written, err := s.q.SpotPriceInsertMany(ctx, s.db, rows)
	for _, row := range written {
		fresh[of[poolTime(row.Region, row.AvailabilityZone, row.InstanceType, row.At)]]++
	}
	return wrap("writing", "spot prices", err)
}

func poolTime(region, zone, kind string, at time.Time) string {
	return fmt.Sprint(region, "/", zone, "/", kind, "@", at.UnixMicro())
}

// NoteSilences notes that this replica runs, and which agents are heard again.
func (s *Store) NoteSilences(ctx context.Context) error {
	return errors.Join(
		wrap("noting", "that central runs", s.q.SilenceBeat(ctx, s.db)),
		wrap("ending", "silences", s.q.SilenceEnd(ctx, s.db)),
	)
}

// leastPriceDays that spot prices are kept: a year to compare with, and EC2 itself
// tells no more than 90 days.
const leastPriceDays = 400

// PruneTraining drops spot prices and silences by age: reports are kept that long, or
// 400 days if that is more.
func (s *Store) PruneTraining(ctx context.Context, keep time.Duration) error {
	before := time.Now().Add(-max(keep, leastPriceDays*24*time.Hour))
	return errors.Join(
		wrap("pruning", "spot prices", s.q.SpotPricePrune(ctx, s.db, before)),
		wrap("pruning", "silences", s.q.SilencePrune(ctx, s.db, &before)),
	)
}
