package shop

import "github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"

// The Spot Advisor gives the share of a pool's instances interrupted in the
// trailing month as one of five buckets: <5 %, 5–10 %, 10–15 %, 15–20 %, >20 %.
// The probability is the bucket's middle; for the open one, 25 %. The score is
// the middle of the bucket's fifth of 0 to 1. A pool the advisor does not know
// counts as the worst.
var (
	monthlyProbability = [5]float64{0.025, 0.075, 0.125, 0.175, 0.25}
	riskScore          = [5]float64{0.1, 0.3, 0.5, 0.7, 0.9}
)

func bucketOf(bucket int) int {
	if bucket == catalogue.Unknown || bucket >= len(riskScore) {
		return len(riskScore) - 1
	}
	return bucket
}
