package predict

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/advisor"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// pull is how many interruptions' worth of belief each level of the fleet's record
// starts with from the level above. At 2, a pool's own record outweighs its family's
// from the third interruption that it has, or would be expected to have, on.
const pull = 2

// record of interruptions.
type record struct{ lost, hours float64 }

// estimate is a rate with what it rests on: a gamma distribution.
type estimate struct {
	// rate, interruptions per instance-hour.
	rate float64
	// prior is the advisor's rate, and times what the fleet's record made of it.
	prior, times float64
	// shape of the distribution; its mean is rate.
	shape float64
	// own is the pool's record, seen of the fleet's anything at all.
	own  record
	seen bool
	// weight of the pool's own record against the levels above, 0 to 1.
	weight float64
}

// shrink is an empirical-Bayes estimate (Gamma–Poisson; Morris 1983): the ratio
// of interruptions to what the advisor's rates had foretold, of the whole fleet, then
// of the family in the region, then of the pool, each drawn to the one before.
func shrink(prior float64, rates func(history.Pool) float64, fleet map[history.Pool]record, q history.Pool, own *record) estimate {
	var levels [3]level
	e := estimate{prior: prior, times: 1}
	for _, pool := range sortedPools(fleet) {
		r := fleet[pool]
		mine := isOf(pool, q)
		if mine && own != nil {
			continue // the caller knows better
		}
		e.count(&levels, r, r.hours*rates(pool), mine, pool.Region == q.Region && catalogue.Family(pool.Type) == catalogue.Family(q.Type))
	}
	if own != nil {
		e.count(&levels, *own, own.hours*prior, true, true)
	}
	for _, l := range levels {
		e.times = (l.lost + pull) / (l.foretold + pull/e.times)
	}
	pool := levels[2]
	e.rate, e.shape = prior*e.times, pull+pool.lost
	e.weight = (pool.lost + pool.foretold) / (pool.lost + pool.foretold + pull)
	return e
}

// level of the fleet: interruptions, and how many the advisor's rates had foretold.
type level struct{ lost, foretold float64 }

// isOf says whether a pool is the one in question; without a zone, any of the type in the region is.
func isOf(pool, q history.Pool) bool {
	return pool == q || q.Zone == "" && pool.Type == q.Type && pool.Region == q.Region
}

// count a record in at its levels: fleet, family in the region, pool.
func (e *estimate) count(levels *[3]level, r record, foretold float64, mine, kin bool) {
	for n, in := range [...]bool{true, kin, mine} {
		if in {
			levels[n].lost += r.lost
			levels[n].foretold += foretold
		}
	}
	if mine {
		e.own.lost, e.own.hours = e.own.lost+r.lost, e.own.hours+r.hours
	}
	e.seen = e.seen || r.hours > 0 || r.lost > 0
}

// probability within hours, if the rate is constant.
func probability(rate, hours float64) float64 { return -math.Expm1(-rate * hours) }

// interval of the rate that holds nine tenths of its distribution, by Wilson and
// Hilferty's approximation of the gamma quantiles (1931).
func (e estimate) interval() (low, high float64) {
	const z = 1.6449
	quantile := func(z float64) float64 {
		return e.rate * math.Pow(max(0, 1-1/(9*e.shape)+z/(3*math.Sqrt(e.shape))), 3)
	}
	return quantile(-z), quantile(z)
}

// priorOf a type in a region: the advisor's rate of its bucket. Where it has none, the mean
// of its family there, of the type elsewhere, of the region, of everything. known is
// false for all of these.
func priorOf(s *market.Snapshot, region, name string) (rate float64, known bool) {
	if bucket := s.Bucket(region, name); bucket != catalogue.Unknown {
		return advisor.HourlyRate(bucket), true
	}
	family := catalogue.Family(name)
	for _, in := range [...]func(r, t string) bool{
		func(r, t string) bool { return r == region && catalogue.Family(t) == family },
		func(_, t string) bool { return t == name },
		func(r, _ string) bool { return r == region },
		func(string, string) bool { return true },
	} {
		if mean, any := meanRate(s, in); any {
			return mean, false
		}
	}
	return advisor.HourlyRate(advisor.Buckets / 2), false
}

func meanRate(s *market.Snapshot, in func(region, name string) bool) (float64, bool) {
	sum, n := 0.0, 0.0
	for _, region := range s.Regions() {
		for _, name := range s.Types(region) {
			if b := s.Bucket(region, name); b != catalogue.Unknown && in(region, name) {
				sum, n = sum+advisor.HourlyRate(b), n+1
			}
		}
	}
	return sum / max(1, n), n > 0
}
