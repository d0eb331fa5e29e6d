package savings

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// maxSteps bounds one answer.
	maxSteps     = 10_000
	usualRange   = 30 * 24 * time.Hour
	hourlyWithin = 7 * 24 * time.Hour
)

// Range is a stretch of time in steps.
type Range struct {
	Start, End time.Time
	// Step is hour or day.
	Step string
}

func (r Range) step() time.Duration {
	if r.Step == "day" {
		return 24 * time.Hour
	}
	return time.Hour
}

// NewRange fills in what is not given: the end is now, the start 30 days before, and steps are hours up to a week.
func NewRange(start, end *time.Time, step string) (Range, error) {
	r := Range{End: time.Now().UTC(), Step: step}
	if end != nil {
		r.End = end.UTC()
	}
	r.Start = r.End.Add(-usualRange)
	if start != nil {
		r.Start = start.UTC()
	}
	if !r.Start.Before(r.End) {
		return r, fault.Invalid("start", "must be before end")
	}
	if r.Step == "" {
		r.Step = "day"
		if r.End.Sub(r.Start) <= hourlyWithin {
			r.Step = "hour"
		}
	}
	r.Start = r.Start.Truncate(r.step())
	if r.End.Sub(r.Start) > maxSteps*r.step() {
		return r, fault.Invalid("start", "must be at most 10000 steps before end")
	}
	return r, nil
}

// History is spending and savings over time.
func (b *Book) History(ctx context.Context, cluster, customer uuid.NullUUID, when Range) (*adminv1.GetSavingsHistoryResponse, error) {
	found, err := b.store.History(ctx, cluster, customer, when.Step, when.Start, when.End)
	if err != nil {
		return nil, err
	}
	out := &adminv1.GetSavingsHistoryResponse{Step: when.Step, Calculation: calculation()}
	spent := make(map[time.Time]store.Spent, len(found.Steps))
	for _, step := range found.Steps {
		spent[step.Start] = step.Spent
	}
	all := total{Spent: store.Spent{Saved: map[string]int64{}}}
	for start := when.Start; start.Before(when.End); start = start.Add(when.step()) {
		one := total{Spent: spent[start], existedMs: existed(found, start, start.Add(when.step()))}
		all.add(one)
		out.Points = append(out.Points, one.point(start, start.Add(when.step())))
	}
	end := when.Start
	if n := len(out.GetPoints()); n > 0 {
		end = out.GetPoints()[n-1].GetEnd().AsTime()
	}
	out.Total = all.point(when.Start, end)
	for _, c := range found.Clusters {
		if c.MeteredFrom != nil && (out.GetMeteredFrom() == nil || c.MeteredFrom.Before(out.GetMeteredFrom().AsTime())) {
			out.MeteredFrom = timestamppb.New(*c.MeteredFrom)
		}
		one := total{Spent: c.Spent, existedMs: overlap(c.CreatedAt, found.At, when.Start, end)}
		out.Clusters = append(out.Clusters, &adminv1.ClusterSavingsTotal{
			ClusterId: c.ID.String(), ClusterName: c.Name, Total: one.point(when.Start, end),
		})
	}
	return out, nil
}

// total is what was spent in a time, of which clusters existed for some.
type total struct {
	store.Spent
	existedMs int64
}

func (t *total) add(o total) {
	t.Actual += o.Actual
	for mechanism, saved := range o.Saved {
		t.Saved[mechanism] += saved
	}
	t.SpotMs += o.SpotMs
	t.OnDemandMs += o.OnDemandMs
	t.UnpricedMs += o.UnpricedMs
	t.MeteredMs += o.MeteredMs
	t.existedMs += o.existedMs
}

// point adds up in millionths of a USD, so that actual + saved = baseline to the last digit.
func (t *total) point(start, end time.Time) *adminv1.SavingsPoint {
	saved := int64(0)
	by := make(map[string]float64, len(t.Saved))
	for mechanism, amount := range t.Saved {
		saved += amount
		by[mechanism] = usd(amount)
	}
	point := &adminv1.SavingsPoint{
		Start: timestamppb.New(start), End: timestamppb.New(end), Actual: usd(t.Actual), Saved: usd(saved), Baseline: usd(t.Actual + saved),
		ByMechanism: by, SpotNodeHours: hours(t.SpotMs), OnDemandNodeHours: hours(t.OnDemandMs), UnpricedNodeHours: hours(t.UnpricedMs),
	}
	if t.existedMs > 0 {
		point.Coverage = min(float64(t.MeteredMs)/float64(t.existedMs), 1)
	}
	return point
}

func usd(millionths int64) float64 { return float64(millionths) / 1e6 }

func hours(ms int64) float64 { return float64(ms) / float64(hourMs) }

// existed is for how many milliseconds of a time clusters existed, all of them together.
func existed(found *store.History, start, end time.Time) int64 {
	ms := int64(0)
	for _, c := range found.Clusters {
		ms += overlap(c.CreatedAt, found.At, start, end)
	}
	return ms
}

func overlap(from, until, start, end time.Time) int64 {
	if from.Before(start) {
		from = start
	}
	if until.After(end) {
		until = end
	}
	return max(until.Sub(from).Milliseconds(), 0)
}

// Decisions sets each optimization's promise beside what came of it, newest first.
func (b *Book) Decisions(ctx context.Context, cluster, customer uuid.NullUUID, page store.Page) (*adminv1.ListDecisionSavingsResponse, error) {
	outcomes, next, err := b.store.Outcomes(ctx, cluster, customer, page)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListDecisionSavingsResponse{NextPageToken: next}
	for _, o := range outcomes {
		one := &adminv1.DecisionSavings{
			OptimizationId: o.ID.String(), ClusterId: o.Cluster.String(), ClusterName: o.ClusterName, OptimizationType: o.Type,
			CompletedAt: timestamppb.New(o.CompletedAt), EstimatedSavings: o.Estimated, ActualSavings: o.Actual, Realised: usd(o.Realised),
			PromisedSoFar: o.Estimated / HoursPerMonth * hours(o.PromisedMs), Active: o.Active,
		}
		if one.GetPromisedSoFar() != 0 {
			one.Error = (one.GetRealised() - one.GetPromisedSoFar()) / one.GetPromisedSoFar()
		}
		out.Decisions = append(out.Decisions, one)
	}
	return out, nil
}

// calculation says how the numbers are made.
func calculation() []*adminv1.CalculationStep {
	step := func(name, formula, note string) *adminv1.CalculationStep {
		return &adminv1.CalculationStep{Name: name, Formula: formula, Note: note}
	}
	return []*adminv1.CalculationStep{
		step("actual", "Σ over nodes and minutes: price per hour × time",
			"The price is the node's at that minute: spot as its pool costs then, on demand as listed. Prices are refreshed once an hour. "+
				"A node counts from when the cluster's agent shows it until it is gone; one without a known price counts as nothing, and its hours are shown."),
		step("saved", "Σ over optimizations and replacements: share that still holds × price today of the nodes taken away − price today of the nodes launched",
			"Both sides move with the market. While old and new nodes run side by side, the new ones count against us; what failed or was rolled back does too. "+
				"Where a price of either side is not known, nothing is claimed."),
		step("share that still holds", "launched nodes that still run ÷ launched nodes",
			"A launched node that CloudOptim replaced later still counts, as far as that replacement holds: the later saving is counted on top. One that left "+
				"otherwise does not. Where nodes were only taken away: CPUs that the cluster has gone without since ÷ CPUs taken away, at most 1."),
		step("interruption", "price today of the node that AWS took back − price today of its replacement",
			"So a replacement on demand in the place of spot counts against us here, and the optimization that had launched the spot node keeps its own saving."),
		step("baseline", "actual + saved", "What would have been paid without CloudOptim: the same nodes, less those it launched, plus those it took away."),
		step("rounding", "each hour of a cluster to a millionth of a USD", "All other numbers are sums of those hours, so all sums agree."),
		step("coverage", "time metered ÷ time the clusters existed",
			"After more than 5 minutes in which a cluster or CloudOptim was silent, only nodes that were there before and after are counted, for 7 days at most; "+
				"their share of the nodes seen counts as covered."),
		step("promised so far", "estimated savings per month ÷ 730 h × time metered since the optimization ended",
			"It goes on until a day after nothing of the optimization is left."),
	}
}
