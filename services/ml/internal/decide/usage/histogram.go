// Package usage reads what containers used: histograms by the hour, which merge
// exactly and give quantiles.
package usage

import (
	"math"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

const (
	// Growth of the buckets, as the contract has it.
	Growth = 1.05
	// Buckets there are.
	Buckets = 401
)

// bounds holds the upper end of every bucket: bounds[0] is 1.
var bounds = func() (b [Buckets]float64) {
	for i := range b {
		b[i] = math.Pow(Growth, float64(i))
	}
	return b
}()

// Upper end of a bucket; no value in it reaches it.
func Upper(bucket int) float64 { return bounds[bucket] }

// Lower end of a bucket.
func Lower(bucket int) float64 {
	if bucket == 0 {
		return 0
	}
	return bounds[bucket-1]
}

// Bucket that a value falls in; the last takes all that is larger.
func Bucket(value float64) int {
	if value < 1 {
		return 0
	}
	guess := min(Buckets-1, max(1, int(math.Log(value)/math.Log(Growth))+1))
	for guess > 1 && value < bounds[guess-1] { // logarithms round
		guess--
	}
	for guess < Buckets-1 && value >= bounds[guess] {
		guess++
	}
	return guess
}

// Histogram of samples, each with a weight.
type Histogram struct {
	// Max is the largest sample.
	Max float64

	weight [Buckets]float64
	total  float64
}

// Add a sample.
func (h *Histogram) Add(value, weight float64) {
	h.weight[Bucket(value)] += weight
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
			if i == Buckets-1 {
				return h.Max
			}
			return min(bounds[i], h.Max)
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
	for _, w := range h.weight[Bucket(value):] {
		sum += w
	}
	return min(1, sum/h.total)
}

// QuantileOf an hour, as Histogram.Quantile has it.
func QuantileOf(hour *mlv1.UsageHistogram, q float64) float64 {
	left := q * float64(hour.GetSamples())
	for i, bucket := range hour.GetBuckets() {
		if left -= float64(hour.GetCounts()[i]); left <= 0 && bucket < Buckets-1 {
			return min(bounds[bucket], hour.GetMax())
		}
	}
	return hour.GetMax()
}

// Collect samples into the message of an hour.
func Collect(values []float64) *mlv1.UsageHistogram {
	var counts [Buckets]int32
	h := &mlv1.UsageHistogram{Samples: int64(len(values))}
	for _, v := range values {
		counts[Bucket(v)]++
		h.Max = max(h.Max, v)
	}
	for i, n := range counts {
		if n > 0 {
			h.Buckets, h.Counts = append(h.Buckets, int32(i)), append(h.Counts, n)
		}
	}
	return h
}
