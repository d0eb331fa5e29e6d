package rightsize

import (
	"fmt"
	"math"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Verdicts and reasons of ResourceChange, as the contract names them.
const (
	verdictChange = "change"
	verdictKeep   = "keep"

	reasonOversized  = "oversized"
	reasonUndersized = "undersized"
	reasonOOM        = "oom_kills"
	reasonNoRequest  = "no_request"
	reasonBelow      = "below_minimum"
	reasonAbove      = "above_maximum"

	reasonThreshold  = "within_threshold"
	reasonNoUsage    = "no_usage"
	reasonLittleData = "little_data"
	reasonWeek       = "less_than_a_week"
	reasonAutoscaled = "autoscaled"
	reasonExcluded   = "namespace_excluded"
	reasonAtBound    = "at_bound"
)

const (
	// A first request, and a rise, need this many days; decreases of CPU and memory more.
	daysToSet        = 1
	daysToTakeCPU    = 3
	daysToTakeMemory = 7
)

// resource is one request under review.
type resource struct {
	from, limit int64
	replicas    int
	estimate    *estimate
	rule        Rule
	unit        float64 // of histograms, in that of from: 1 for millicores, 2^20 for MiB
	floor       int64   // that kills for lack of memory set; 0: none
	reference   float64 // size of a workload that minChange is for
	daysToTake  float64
	tooYoung    string // reason while there are fewer days
	bounds      bounds
	autoscaled  bool
}

// target in the unit of from, rounded up so that what is covered stays covered.
func (r *resource) target() int64 {
	return max(r.floor, int64(math.Ceil(r.estimate.value*r.unit)))
}

// bounded target and whether a bound moved it.
func (r *resource) bounded() (int64, bool) {
	to := max(r.target(), r.bounds.least)
	if r.bounds.most > 0 {
		to = min(to, r.bounds.most)
	}
	return to, to != r.target()
}

// decide what becomes of a request: up at once, down slowly, and not for little.
func (r *resource) decide(l limits) *mlv1.ResourceChange {
	c := &mlv1.ResourceChange{From: r.from, To: r.from, Limit: r.limit, Verdict: verdictKeep}
	if r.estimate.hours == 0 && r.floor == 0 {
		c.Reason = reasonNoUsage
		return c
	}
	c.Target = r.target()
	to, atBound := r.bounded()
	if r.autoscaled {
		c.Reason, c.Detail = reasonAutoscaled, "its autoscaler counts use as a share of this request: changing one moves the other"
	} else if reason, detail := r.holdBack(to, atBound, l); reason != "" {
		c.Reason, c.Detail = reason, detail
	} else {
		c.To, c.Reason = r.step(to, l)
		c.Verdict = verdictChange
		if c.To != to {
			c.Detail = fmt.Sprintf("a step of at most %.0f %% towards %d", 100*l.maxDecrease, to)
		}
		c.Limit = r.newLimit(c.To)
	}
	c.Risk = riskOf(r.estimate.all.Above(float64(c.To)/r.unit), r.estimate.hours)
	return c
}

// holdBack says why a request stays, empty if it does not.
func (r *resource) holdBack(to int64, atBound bool, l limits) (reason, detail string) {
	days := r.estimate.days()
	switch {
	case to == r.from && atBound:
		return reasonAtBound, "usage asks for more or less than the bounds allow"
	case r.broken(), r.floor > r.from:
		return "", "" // a bound or a kill needs no further evidence
	case days < daysToSet:
		return reasonLittleData, fmt.Sprintf("%.1f days of usage", days)
	case r.from == 0:
		return "", ""
	case to < r.from && days < r.daysToTake:
		return r.tooYoung, fmt.Sprintf("%.1f days of usage, a decrease needs %.0f", days, r.daysToTake)
	case to > r.from && r.exceeds():
		return "", "" // it lacks already
	}
	relative, threshold := math.Abs(float64(to-r.from))/float64(r.from), r.threshold(l)
	if relative < threshold || to == r.from {
		return reasonThreshold, fmt.Sprintf("a change of %.1f %%, of which %.1f %% is worth a restart", 100*relative, 100*threshold)
	}
	return "", ""
}

// broken bounds are mended whatever usage says.
func (r *resource) broken() bool {
	return r.from > 0 && (r.from < r.bounds.least || r.bounds.most > 0 && r.from > r.bounds.most)
}

// exceeds says whether use exceeds the request more often than the rule allows, in
// all the time or in the last day.
func (r *resource) exceeds() bool {
	from := float64(r.from) / r.unit
	return max(r.estimate.all.Above(from), r.estimate.late.Above(from)) > 1-r.rule.Quantile
}

// threshold falls with the root of the size: ten replicas of a large service are worth a
// restart for a few percent, a tiny one is not for half.
func (r *resource) threshold(l limits) float64 {
	size := float64(r.from) * float64(max(1, r.replicas)) / r.reference
	return min(1, min(10*l.minChange, max(l.minChange/3, l.minChange/math.Sqrt(max(size, 1e-9)))))
}

// step towards the target, and why.
func (r *resource) step(to int64, l limits) (int64, string) {
	switch {
	case r.from == 0:
		return to, reasonNoRequest
	case to > r.from && r.floor > r.from && r.floor >= int64(math.Ceil(r.estimate.value*r.unit)):
		return to, reasonOOM
	case r.from < r.bounds.least:
		return to, reasonBelow
	case to > r.from:
		return to, reasonUndersized
	case r.bounds.most > 0 && r.from > r.bounds.most:
		return max(to, min(r.bounds.most, r.slow(l))), reasonAbove
	}
	return max(to, r.slow(l)), reasonOversized
}

// slow is as far down as one decision goes.
func (r *resource) slow(l limits) int64 {
	return int64(math.Ceil(float64(r.from) * (1 - l.maxDecrease)))
}

// newLimit keeps the ratio of limit to request where the request rises, and the limit
// as it is where the request falls: bursts lose nothing.
func (r *resource) newLimit(to int64) int64 {
	if r.limit == 0 {
		return 0
	}
	if to <= r.from {
		return max(r.limit, to)
	}
	ratio := 1.0
	if r.from > 0 && r.limit > r.from {
		ratio = float64(r.limit) / float64(r.from)
	}
	return max(r.limit, int64(math.Ceil(float64(to)*ratio)))
}
