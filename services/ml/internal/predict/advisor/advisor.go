// Package advisor turns the Spot Advisor's buckets into rates.
package advisor

import "math"

// AWS counts the interruptions of the trailing month, taken as 30 days.
const hoursCounted = 720

// midpoints of the buckets: <5 %, 5–10 %, 10–15 %, 15–20 %, and for the open one 25 %.
var midpoints = [...]float64{0.025, 0.075, 0.125, 0.175, 0.25}

// bounds of the buckets. The open one is taken to end at 60 %.
var bounds = [...]float64{0.002, 0.05, 0.10, 0.15, 0.20, 0.60}

// Buckets is how many there are.
const Buckets = len(midpoints)

// HourlyRate of a bucket: λ = −ln(1−p) ÷ 720 h, as if interruptions came evenly.
func HourlyRate(bucket int) float64 {
	return rate(midpoints[min(max(bucket, 0), Buckets-1)])
}

// Bounds of the hourly rates that a bucket stands for.
func Bounds(bucket int) (low, high float64) {
	b := min(max(bucket, 0), Buckets-1)
	return rate(bounds[b]), rate(bounds[b+1])
}

func rate(share float64) float64 { return -math.Log1p(-share) / hoursCounted }
