package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestBucketsAreAsTheContractHasThem(t *testing.T) {
	for value, bucket := range map[float64]int{0: 0, 0.99: 0, 1: 1, 1.0499: 1, 1.05: 2, 1.1: 2, 1.1026: 3, 1e12: Buckets - 1} {
		if got := Bucket(value); got != bucket {
			t.Errorf("%g is in bucket %d, want %d", value, got, bucket)
		}
	}
	for i := 1; i < Buckets-1; i++ { // every end belongs to the bucket above it, however logarithms round
		if Bucket(Upper(i)) != i+1 || Bucket(math.Nextafter(Upper(i), 0)) != i {
			t.Fatalf("the end of bucket %d is in bucket %d", i, Bucket(Upper(i)))
		}
	}
}

func TestSamplesMergeExactly(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 100 {
		var parts [2][]float64
		for i := range parts {
			for range rng.IntN(40) {
				parts[i] = append(parts[i], math.Exp(6*rng.NormFloat64()))
			}
		}
		merged := Collect(parts[0])
		Merge(merged, Collect(parts[1]))
		if whole := Collect(slices.Concat(parts[0], parts[1])); !proto.Equal(merged, whole) {
			t.Fatalf("merged %v, all at once %v", merged, whole)
		}
		if !slices.IsSorted(merged.Buckets) || merged.Samples != int64(len(parts[0])+len(parts[1])) {
			t.Fatalf("%v is no histogram", merged)
		}
	}
}
