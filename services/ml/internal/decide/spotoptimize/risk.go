package spotoptimize

import "github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"

const (
	// HoursPerMonth is the month that AWS and this contract count with.
	HoursPerMonth = 730
	// RestartCost is what one unplanned restart of a pod is taken to cost, USD: the work
	// it loses and the capacity held twice meanwhile. Small on purpose: it decides
	// between pools of nearly the same price and never outweighs a real saving.
	RestartCost = 1.0
	// MoveCost is what moving a pod once, drained and with its replacement waiting, is
	// taken to cost, USD. A plan must save more than that within a month.
	MoveCost = 0.25
	// nodeCost per hour of every node whatever its size: a root volume of 20 GiB gp3
	// costs about 1.60 USD a month. It keeps plans from falling into crumbs.
	nodeCost = 0.0022
	// concentration is the share of the new nodes' price added when all of them were
	// one node or in one zone; it falls as they spread.
	concentration = 0.05
)

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

// riskLevel in the words of RiskAssessment.
func riskLevel(average float64) string {
	switch {
	case average < 0.35:
		return "LOW"
	case average < 0.65:
		return "MEDIUM"
	}
	return "HIGH"
}
