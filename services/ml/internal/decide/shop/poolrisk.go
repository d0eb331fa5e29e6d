package shop

import (
	"sort"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
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

// Model is the prior's, and that it was corrected.
func (w Watched) Model() string { return w.Prior.Model() + "+pool_history" }

// Interruptions by the model and by what was seen.
func (w Watched) Interruptions(region string, pool market.Offer) (float64, bool) {
	prior := Interruptions(w.Prior, region, pool)
	seen, ok := w.Pools[pool.Type.Name+"/"+pool.Zone]
	if !ok {
		return prior, true
	}
	return (prior*priorMonths + seen.Interruptions) / (priorMonths + seen.NodeHours/figure.HoursPerMonth), true
}

// Interruptions by the model, by the advisor's prior where the model knows nothing.
func Interruptions(risk PoolRisk, region string, pool market.Offer) float64 {
	if perMonth, ok := risk.Interruptions(region, pool); ok && perMonth >= 0 {
		return perMonth
	}
	return monthlyProbability[bucketOf(pool.Bucket)]
}

// ScoreOf interruptions expected in a month: straight lines through the middles of
// the advisor's buckets and their scores, 1 from four times the worst bucket on.
func ScoreOf(perMonth float64) float64 {
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
