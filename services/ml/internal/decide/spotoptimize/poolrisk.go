package spotoptimize

import (
	"math"
	"sort"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// PoolRisk says how often the spot nodes of a pool are interrupted.
type PoolRisk interface {
	// Model names what scores and its version; it is kept with each decision.
	Model() string
	// Interruptions of one node kept in the pool, each loss replaced at once, to be
	// expected in a month of 730 hours. For a probability p within h hours that is
	// -ln(1-p)·730/h. ok is false where the model knows nothing of the pool; then the
	// advisor's prior counts.
	Interruptions(region string, pool market.Offer) (perMonth float64, ok bool)
}

// Advisor is the prior that the Spot Advisor's buckets give: see monthlyProbability.
type Advisor struct{}

// Model names the source.
func (Advisor) Model() string { return "spot_advisor" }

// Interruptions by the bucket of the type in the region; zones do not differ.
func (Advisor) Interruptions(_ string, pool market.Offer) (float64, bool) {
	return monthlyProbability[bucketOf(pool.Bucket)], true
}

// priorMonths is how many node-months of watching weigh as much as the model's word,
// about three days: a gamma prior on the rate, so that one interruption moves a pool
// that was hardly watched, and a quiet month outweighs a bad bucket.
const priorMonths = 0.1

// Watched corrects a model by what was seen of pools: the mean of the gamma
// posterior whose prior is the model's rate.
type Watched struct {
	// Prior is the model.
	Prior PoolRisk
	// Pools that were watched, by type/zone.
	Pools map[string]Watch
}

// Watch is what was seen of a pool.
type Watch struct{ NodeHours, Interruptions float64 }

// watching the pools of a request's history.
func watching(prior PoolRisk, history []*mlv1.PoolHistory) PoolRisk {
	if len(history) == 0 {
		return prior
	}
	w := Watched{Prior: prior, Pools: map[string]Watch{}}
	for _, h := range history {
		pool := h.GetInstanceType() + "/" + h.GetAvailabilityZone()
		seen := w.Pools[pool]
		w.Pools[pool] = Watch{NodeHours: seen.NodeHours + h.GetNodeHours(), Interruptions: seen.Interruptions + h.GetInterruptions()}
	}
	return w
}

// Model is the prior's, and that it was corrected.
func (w Watched) Model() string { return w.Prior.Model() + "+pool_history" }

// Interruptions by the model and by what was seen.
func (w Watched) Interruptions(region string, pool market.Offer) (float64, bool) {
	prior := interruptions(w.Prior, region, pool)
	seen, ok := w.Pools[pool.Type.Name+"/"+pool.Zone]
	if !ok {
		return prior, true
	}
	return (prior*priorMonths + seen.Interruptions) / (priorMonths + seen.NodeHours/HoursPerMonth), true
}

// interruptions by the model, by the advisor's prior where the model knows nothing.
func interruptions(risk PoolRisk, region string, pool market.Offer) float64 {
	if perMonth, ok := risk.Interruptions(region, pool); ok && perMonth >= 0 {
		return perMonth
	}
	return monthlyProbability[bucketOf(pool.Bucket)]
}

// scoreOf interruptions expected in a month: straight lines through the middles of
// the advisor's buckets and their scores, 1 from four times the worst bucket on.
func scoreOf(perMonth float64) float64 {
	const worst = len(monthlyProbability) - 1
	i := sort.SearchFloat64s(monthlyProbability[:], perMonth)
	switch {
	case i <= worst && monthlyProbability[i] == perMonth:
		return riskScore[i]
	case i == 0:
		return riskScore[0] * perMonth / monthlyProbability[0]
	case i > worst:
		return min(1, riskScore[worst]+(1-riskScore[worst])*(perMonth/monthlyProbability[worst]-1)/3)
	}
	share := (perMonth - monthlyProbability[i-1]) / (monthlyProbability[i] - monthlyProbability[i-1])
	return riskScore[i-1] + share*(riskScore[i]-riskScore[i-1])
}

// choices of the market, with their risk by the model that the request is answered
// with and by all limits on price and risk.
func (w *world) choices(want wants, l limits) []*column { return l.sort(w.stock(want, l)) }

// stock is what may be bought by the lists of the request, whatever it costs and however
// risky it is.
func (w *world) stock(want wants, l limits) []*column {
	any := l
	any.maxRisk, any.priceRatio, any.maxSpot, any.excludedPools = 1, math.Inf(1), 1, nil
	all := w.columns(want, any)
	for _, c := range all {
		c.restart = l.restartCost
		if c.spot {
			c.probability = interruptions(l.risk, w.state.GetRegion(), c.Offer)
			c.score = scoreOf(c.probability)
		}
	}
	return all
}

// sort out of a stock what the limits forbid. The stock itself is left as it is.
func (l limits) sort(stock []*column) []*column {
	without := map[string]bool{}
	for _, pool := range l.excludedPools {
		without[pool] = true
	}
	copies, all := make([]column, len(stock)), make([]*column, len(stock))
	for i, c := range stock {
		copies[i] = *c
		all[i] = &copies[i]
		switch {
		case without[c.pool()+"/"+c.nodeType()]:
			all[i].reason = candidateExcluded
		case c.reason == "":
			all[i].reason = l.forbids(c)
		}
	}
	return all
}

// forbids says why a column may not be bought, empty if it may.
func (l limits) forbids(c *column) string {
	if c.price > l.nodePrice+defaultGranularity {
		return candidatePriceCeiling
	}
	if !c.spot {
		return ""
	}
	if c.price > l.cpuPrice*float64(c.Type.VCPU)+defaultGranularity {
		return candidatePriceCeiling
	}
	return refuseSpot(c, l)
}
