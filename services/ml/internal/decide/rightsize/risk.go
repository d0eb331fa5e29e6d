package rightsize

import (
	"math"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// z of a two-sided interval of 95 %.
const z = 1.959964

// wilson is the score interval of a share seen in n observations (Wilson 1927). It is
// never empty nor outside 0 to 1, and honest where the share is 0.
func wilson(share float64, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	count := float64(n)
	middle := (share + z*z/(2*count)) / (1 + z*z/count)
	half := z / (1 + z*z/count) * math.Sqrt(share*(1-share)/count+z*z/(4*count*count))
	return max(0, middle-half), min(1, middle+half)
}

func riskOf(share float64, hours int) *mlv1.ExceedanceRisk {
	low, high := wilson(share, hours)
	return &mlv1.ExceedanceRisk{Share: figure.Digits(share), Low: figure.Digits(low), High: figure.Digits(high), Hours: int32(hours)}
}
