package gaps

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

const (
	defaultGaps = 1000
	mostSeries  = 10_000
)

// report collects an analysis in bounded memory.
type report struct {
	most     int
	gaps     []*mlv1.DataGap
	covers   []*mlv1.SeriesCoverage
	found    int
	fillable int
	series   int
	// sum of the coverage of those series that have a cadence.
	sum     float64
	counted int
}

func newReport(most int) *report { return &report{most: most} }

func (r *report) add(l *look) {
	r.series++
	if l.cover.GetExpected() > 0 {
		r.sum += l.cover.GetCoverage()
		r.counted++
	}
	r.covers = append(r.covers, l.cover)
	if len(r.covers) >= 2*mostSeries {
		r.trimCovers()
	}
	for _, h := range l.holes {
		r.found++
		if h.fillable() {
			r.fillable++
		}
		r.gaps = append(r.gaps, message(l.cover.GetSeries(), h))
		if len(r.gaps) >= 2*r.most {
			r.trimGaps()
		}
	}
}

func message(name string, h hole) *mlv1.DataGap {
	return &mlv1.DataGap{
		Series: name, Start: stamp(h.Start), End: stamp(h.End), Cause: h.cause, Missing: int32(h.Missing),
		Fillable: h.fillable(), Method: h.method, Reason: h.reason,
	}
}

func stamp(millis int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(millis)) }

func (r *report) trimGaps() {
	length := func(g *mlv1.DataGap) time.Duration { return g.GetEnd().AsTime().Sub(g.GetStart().AsTime()) }
	slices.SortFunc(r.gaps, func(a, b *mlv1.DataGap) int {
		return cmp.Or(cmp.Compare(length(b), length(a)), cmp.Compare(a.GetSeries(), b.GetSeries()),
			a.GetStart().AsTime().Compare(b.GetStart().AsTime()))
	})
	r.gaps = r.gaps[:min(r.most, len(r.gaps))]
}

// trimCovers puts series without a cadence, which have no coverage, last.
func (r *report) trimCovers() {
	covered := func(c *mlv1.SeriesCoverage) float64 {
		if c.GetExpected() == 0 {
			return 2
		}
		return c.GetCoverage()
	}
	slices.SortFunc(r.covers, func(a, b *mlv1.SeriesCoverage) int {
		return cmp.Or(cmp.Compare(covered(a), covered(b)), cmp.Compare(a.GetSeries(), b.GetSeries()))
	})
	r.covers = r.covers[:min(mostSeries, len(r.covers))]
}

func (r *report) answer(q *question) *mlv1.AnalyzeGapsResponse {
	r.trimGaps()
	r.trimCovers()
	answer := &mlv1.AnalyzeGapsResponse{
		Gaps: r.gaps, GapsFound: int32(r.found), GapsFillable: int32(r.fillable), Series: r.covers, SeriesFound: int32(r.series),
		Start: timestamppb.New(q.start), End: timestamppb.New(q.end),
	}
	if r.counted > 0 {
		answer.Coverage = r.sum / float64(r.counted)
	}
	return answer
}
