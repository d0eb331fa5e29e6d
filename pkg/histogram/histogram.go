// Package histogram is how samples of usage are counted: in geometric buckets that grow by
// 5 %, as mlv1.UsageHistogram has them.
package histogram

import (
	"math"
	"slices"

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

// Collect samples into a histogram.
func Collect(values []float64) *mlv1.UsageHistogram {
	h := &mlv1.UsageHistogram{}
	for _, v := range values {
		Add(h, v)
	}
	return h
}

// Add counts a sample.
func Add(h *mlv1.UsageHistogram, value float64) {
	count(h, int32(Bucket(value)), 1)
	h.Max = max(h.Max, value)
}

// Merge counts another's samples too; nothing is lost, as equal buckets add up.
func Merge(h, other *mlv1.UsageHistogram) {
	for i, bucket := range other.GetBuckets() {
		count(h, bucket, other.GetCounts()[i])
	}
	if other.GetSamples() > 0 {
		h.Max = max(h.Max, other.GetMax())
	}
}

func count(h *mlv1.UsageHistogram, bucket, n int32) {
	at, there := slices.BinarySearch(h.Buckets, bucket)
	if !there {
		h.Buckets, h.Counts = slices.Insert(h.Buckets, at, bucket), slices.Insert(h.Counts, at, 0)
	}
	h.Counts[at] += n
	h.Samples += int64(n)
}
