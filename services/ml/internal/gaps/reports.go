package gaps

import (
	"context"
	"math"
	"slices"
	"sort"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// reports is what filling a cluster's reports needs.
type reports struct {
	cluster store.Cluster
	usual   *series.Profile
}

// edgeWithin is how far before the window the edge of a gap that reaches into it is
// looked for; all rows from there on are read.
const edgeWithin = 7 * 24 * time.Hour

// lookAtReports of a cluster.
func (s *Server) lookAtReports(ctx context.Context, q *question, cluster store.Cluster) (*look, error) {
	observed, imputed, err := s.Store.ReportTimes(ctx, cluster.ID, q.start.Add(-edgeWithin), q.end)
	if err != nil {
		return nil, err
	}
	cadence := series.Learn(observed)
	l := &look{
		cover:   &mlv1.SeriesCoverage{Series: "cluster_metrics/" + cluster.ID.String(), CadenceSeconds: seconds(cadence.Whole())},
		reports: &reports{cluster: cluster},
	}
	start := l.begin(q, cluster, cadence)
	found := series.Find(observed, cadence, start.UnixMilli(), q.end.UnixMilli())
	l.cover.Expected += int32(found.Expected)
	l.cover.Observed = int32(found.Observed)
	silences := q.silencesOf(cluster.ID)
	for _, gap := range found.Gaps {
		h := hole{Gap: gap, cause: series.Cause(gap, silences), method: series.Method(gap)}
		h.slots = vacant(gap, imputed, start.UnixMilli())
		switch {
		case gap.Open() && gap.Before == 0:
			h.reason = noStart
		case gap.Open():
			h.reason = noEnd
		case len(h.slots) == 0:
			continue // an earlier run filled it
		}
		l.holes = append(l.holes, h)
	}
	first, _ := slices.BinarySearch(imputed, start.UnixMilli())
	l.cover.Imputed = int32(len(imputed) - first)
	if err := s.judge(ctx, l, earlier(q.start, q.end.Add(-learnFrom)), q.end); err != nil {
		return nil, err
	}
	l.cover.Gaps = int32(len(l.holes))
	if l.cover.Expected > 0 {
		l.cover.Coverage = float64(l.cover.Observed) / float64(l.cover.Expected)
	}
	return l, nil
}

// begin is where the series may first have rows; what the question asks for before
// that is told, and counts as missing if the cluster was there.
func (l *look) begin(q *question, cluster store.Cluster, cadence series.Cadence) time.Time {
	start := q.start
	if born := earlier(cluster.Created, q.end); start.Before(born) {
		l.holes = append(l.holes, hole{
			Gap:   series.Gap{Start: start.UnixMilli(), End: born.UnixMilli()},
			cause: series.NotExisting, reason: noStart,
		})
		start = born
	}
	if kept := earlier(q.kept, q.end); start.Before(kept) {
		gap := series.Gap{Start: start.UnixMilli(), End: kept.UnixMilli(), Step: cadence.Whole()}
		if gap.Missing = int(gap.Length() / gap.Step); gap.Missing > 0 { // else its first report came at once
			l.holes = append(l.holes, hole{Gap: gap, cause: series.NotKept, reason: tooOld})
		}
		l.cover.Expected += int32(gap.Missing)
		start = kept
	}
	return start
}

// vacant are the slots from start on that no imputed row stands for.
func vacant(gap series.Gap, imputed []int64, start int64) []int64 {
	return slices.DeleteFunc(gap.Slots(), func(slot int64) bool {
		i := sort.Search(len(imputed), func(i int) bool { return imputed[i] > slot-gap.Step/2 })
		return slot < start || i < len(imputed) && imputed[i] < slot+gap.Step/2
	})
}

// judge long gaps by what is known of the hours they need.
func (s *Server) judge(ctx context.Context, l *look, since, until time.Time) error {
	if !slices.ContainsFunc(l.holes, func(h hole) bool { return h.method == series.HourOfWeekMedian }) {
		return nil
	}
	hours, err := s.Store.ReportHours(ctx, l.reports.cluster.ID, since, until)
	if err != nil {
		return err
	}
	l.reports.usual = series.NewProfile(points(hours))
	for i := range l.holes {
		h := &l.holes[i]
		if h.method != series.HourOfWeekMedian {
			continue
		}
		h.slots = slices.DeleteFunc(h.slots, func(at int64) bool { return !l.reports.usual.Knows(at) })
		if len(h.slots) == 0 {
			h.method, h.reason = "", tooLittle
		}
	}
	return nil
}

func points(rows []*mlv1.ReportRow) []series.Point {
	all := make([]series.Point, 0, len(rows))
	for _, r := range rows {
		all = append(all, series.Point{At: r.GetAt().AsTime().UnixMilli(), Values: values(r)})
	}
	return all
}

// values of a report in the order of its fields. All are gauges: none only grows.
func values(r *mlv1.ReportRow) []float64 {
	return []float64{
		r.GetTotalNodes(), r.GetSpotNodes(), r.GetOnDemandNodes(), r.GetTotalCpu(), r.GetTotalMemoryGb(), r.GetAllocatedCpu(),
		r.GetAllocatedMemoryGb(), r.GetTotalPods(), r.GetRunningPods(), r.GetPendingPods(), r.GetCostPerHour(),
	}
}

// row makes a report of imputed values that agrees with itself: nodes and pods are
// whole, and the parts are no more than the total.
func row(p series.Point) *mlv1.ReportRow {
	v := p.Values
	r := &mlv1.ReportRow{
		At: timestamppb.New(time.UnixMilli(p.At)), SpotNodes: math.Round(v[1]), OnDemandNodes: math.Round(v[2]),
		TotalCpu: v[3], TotalMemoryGb: v[4], AllocatedCpu: v[5], AllocatedMemoryGb: v[6],
		RunningPods: math.Round(v[8]), PendingPods: math.Round(v[9]), CostPerHour: v[10],
	}
	r.TotalNodes = r.GetSpotNodes() + r.GetOnDemandNodes()
	r.TotalPods = max(math.Round(v[7]), r.GetRunningPods()+r.GetPendingPods())
	return r
}
