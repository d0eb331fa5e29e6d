// Package usage reads what containers used: histograms by the hour, which merge
// exactly and give quantiles.
package usage

import (
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
)

// Histogram of samples, each with a weight.
type Histogram struct {
	// Max is the largest sample.
	Max float64

	weight [histogram.Buckets]float64
	total  float64
}

// Add a sample.
func (h *Histogram) Add(value, weight float64) {
	h.weight[histogram.Bucket(value)] += weight
	h.total += weight
	h.Max = max(h.Max, value)
}

// AddHour adds every sample of an hour with the same weight. Nothing is lost: equal
// buckets add up.
func (h *Histogram) AddHour(from *mlv1.UsageHistogram, weight float64) {
	counts := from.GetCounts()
	for i, bucket := range from.GetBuckets() {
		h.weight[bucket] += weight * float64(counts[i])
		h.total += weight * float64(counts[i])
	}
	if from.GetSamples() > 0 {
		h.Max = max(h.Max, from.GetMax())
	}
}

// Empty says that there are no samples.
func (h *Histogram) Empty() bool { return h.total == 0 }

// Quantile is the upper end of the bucket that the q-th share of the samples ends in, at
// most the largest sample: never below the true quantile, and at most 5 % above.
func (h *Histogram) Quantile(q float64) float64 {
	if h.total == 0 {
		return 0
	}
	left := q * h.total * (1 - 1e-12) // sums of weights round
	for i, w := range h.weight {
		if left -= w; left <= 0 && w > 0 {
			if i == histogram.Buckets-1 {
				return h.Max
			}
			return min(histogram.Upper(i), h.Max)
		}
	}
	return h.Max
}

// Above is the share of samples above a value. Of the bucket that it falls in, all
// count as above unless the largest sample is not.
func (h *Histogram) Above(value float64) float64 {
	if h.total == 0 || h.Max <= value {
		return 0
	}
	sum := 0.0
	for _, w := range h.weight[histogram.Bucket(value):] {
		sum += w
	}
	return min(1, sum/h.total)
}

// QuantileOf an hour, as Histogram.Quantile has it.
func QuantileOf(hour *mlv1.UsageHistogram, q float64) float64 {
	left := q * float64(hour.GetSamples())
	for i, bucket := range hour.GetBuckets() {
		if left -= float64(hour.GetCounts()[i]); left <= 0 && bucket < histogram.Buckets-1 {
			return min(histogram.Upper(int(bucket)), hour.GetMax())
		}
	}
	return hour.GetMax()
}
