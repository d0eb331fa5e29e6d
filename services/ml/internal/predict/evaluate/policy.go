package evaluate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// What acting costs, USD a pod, as spot_optimize counts: an unplanned restart, and a move that
// is drained and has its replacement waiting.
const (
	restartCost = 1.0
	moveCost    = 0.25
)

// alarm is a prediction in time.
type alarm struct {
	pool history.Pool
	at   time.Time
	p    float64
	// lossAt is when the instance was lost, if that was seen.
	lossAt time.Time
}

// Policy is what comes of draining an instance when its probability reaches a
// threshold: once drained, it is left alone for the horizon.
type Policy struct {
	// Threshold on the probability.
	Threshold float64 `json:"threshold"`
	// DrainsPerDay of one instance.
	DrainsPerDay float64 `json:"drains_per_instance_day"`
	// Recall is the share of losses that came within the horizon after a drain, of
	// those before which there was a prediction to act on.
	Recall float64 `json:"recall"`
	// Precision is the share of drains after which a loss came within the horizon.
	Precision float64 `json:"precision"`
	// LeadMinutes between a drain and the loss it foresaw: 10th, 50th and 90th percentile.
	LeadMinutes [3]float64 `json:"lead_minutes_p10_p50_p90"`
	// NetUtility in USD per pod and 100 instance-hours: 1.00 for each restart avoided,
	// less 0.25 for each drain.
	NetUtility float64 `json:"net_utility_per_100h"`
}

// alarms of examples, by pool and time.
func alarms(all []hazard.Example, predict predictor) []alarm {
	out := make([]alarm, 0, len(all))
	for i := range all {
		e := &all[i]
		a := alarm{pool: e.Pool, at: e.At, p: predict(e)}
		if e.Outcome.Gone {
			a.lossAt = e.At.Add(time.Duration(e.Outcome.Seen * float64(time.Minute)))
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b alarm) int {
		return cmp.Or(cmp.Compare(a.pool.Zone, b.pool.Zone), cmp.Compare(a.pool.Type, b.pool.Type), a.at.Compare(b.at))
	})
	return out
}

// play the policy through. hours is the time that the alarms speak for.
func play(all []alarm, threshold float64, horizon time.Duration, hours float64) Policy {
	type loss struct {
		pool history.Pool
		at   int64
	}
	losses, caught := map[loss]bool{}, map[loss]bool{}
	var leads []float64
	var quiet time.Time
	drains, hits := 0, 0
	for i, a := range all {
		if i == 0 || all[i-1].pool != a.pool {
			quiet = time.Time{}
		}
		l := loss{a.pool, a.lossAt.Unix()}
		if !a.lossAt.IsZero() {
			losses[l] = true
		}
		if a.p < threshold || a.at.Before(quiet) {
			continue
		}
		drains++
		quiet = a.at.Add(horizon)
		if !a.lossAt.IsZero() && !a.lossAt.After(quiet) {
			hits++
			caught[l] = true
			leads = append(leads, a.lossAt.Sub(a.at).Minutes())
		}
	}
	p := Policy{Threshold: threshold, DrainsPerDay: float64(drains) / hours * 24}
	p.NetUtility = (restartCost*float64(len(caught)) - moveCost*float64(drains)) / hours * 100
	if len(losses) > 0 {
		p.Recall = float64(len(caught)) / float64(len(losses))
	}
	if drains > 0 {
		p.Precision = float64(hits) / float64(drains)
	}
	p.LeadMinutes = percentiles(leads)
	return p
}

// percentiles 10, 50 and 90 by nearest rank.
func percentiles(all []float64) (out [3]float64) {
	slices.Sort(all)
	for i, q := range [...]float64{0.1, 0.5, 0.9} {
		if len(all) > 0 {
			out[i] = all[int(math.Round(q*float64(len(all)-1)))]
		}
	}
	return out
}

// atBudget is the policy with the lowest threshold that drains an instance no more
// than so many times a day.
func atBudget(all []alarm, perDay float64, horizon time.Duration, hours float64) Policy {
	var levels []float64
	for _, a := range all {
		levels = append(levels, a.p)
	}
	slices.Sort(levels)
	levels = slices.Compact(levels)
	low, high := 0, len(levels)-1
	for low < high { // drains fall as the threshold rises, nearly: the pause after one makes ties
		middle := (low + high) / 2
		if play(all, levels[middle], horizon, hours).DrainsPerDay <= perDay {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return play(all, levels[low], horizon, hours)
}
