package advisor_test

import (
	"math"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/advisor"
)

func TestRatesGiveTheBucketsBackOverAMonth(t *testing.T) {
	for bucket, want := range []float64{0.025, 0.075, 0.125, 0.175, 0.25} {
		rate := advisor.HourlyRate(bucket)
		if got := 1 - math.Exp(-rate*720); math.Abs(got-want) > 1e-12 {
			t.Errorf("bucket %d: %v in a month, want %v", bucket, got, want)
		}
		if low, high := advisor.Bounds(bucket); !(low < rate && rate < high) {
			t.Errorf("bucket %d: %v is not within %v and %v", bucket, rate, low, high)
		}
	}
	if advisor.HourlyRate(-1) != advisor.HourlyRate(0) || advisor.HourlyRate(9) != advisor.HourlyRate(4) {
		t.Error("a bucket that is none is not the nearest one")
	}
}
