// Package backtest walks the sizing engines forward through recorded usage: they see
// the past, and what comes next is counted.
package backtest

import (
	"math"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
)

// hour of one series.
type hour struct {
	at     int64 // from 1970
	values []float64
	hist   *mlv1.UsageHistogram
	start  *timestamppb.Timestamp
}

// series is one resource of one machine or container, in millicores or MiB.
type series struct {
	name        string
	memory      bool
	provisioned float64
	hours       []hour
}

func (s *series) add(at int64, values []float64) {
	s.hours = append(s.hours, hour{at: at, values: values, hist: histogram.Collect(values), start: &timestamppb.Timestamp{Seconds: at * 3600}})
}

// fold is hours to learn from and hours to be judged by, as indices; one that is not scored
// lets a request find its level.
type fold struct {
	train, from, to int
	scored          bool
}

// daily folds: each day is judged by what came in the historyDays before it, from the
// day on which warm days are past; the first of them are not scored.
func daily(s *series, warm, unscored, historyDays int) []fold {
	var all []fold
	if len(s.hours) == 0 {
		return nil
	}
	begin := s.hours[0].at
	train := 0
	for from := 0; from < len(s.hours); {
		day := (s.hours[from].at - begin) / 24
		to := from
		for to < len(s.hours) && (s.hours[to].at-begin)/24 == day {
			to++
		}
		for s.hours[train].at < s.hours[from].at-int64(historyDays)*24 {
			train++
		}
		if day >= int64(warm) {
			all = append(all, fold{train: train, from: from, to: to, scored: day >= int64(warm+unscored)})
		}
		from = to
	}
	return all
}

// score of requests held through hours.
type score struct {
	samples, above      float64
	requested, unused   float64
	depth               float64 // of what was above, as a share of the request
	changes, days, died float64
}

func (s *score) hold(request float64, hours []hour) {
	killed := false
	for _, h := range hours {
		for _, v := range h.values {
			s.samples++
			s.requested += request
			s.unused += max(0, request-v)
			if v > request {
				s.above++
				s.depth += (v - request) / max(request, 1e-9)
				killed = true
			}
		}
	}
	s.days++
	if killed {
		s.died++
	}
}

// exceedance is the share of samples above the request.
func (s *score) exceedance() float64 { return s.above / math.Max(1, s.samples) }

// slack is the share of what was requested that was not used.
func (s *score) slack() float64 {
	if s.requested == 0 {
		return 0
	}
	return s.unused / s.requested
}
