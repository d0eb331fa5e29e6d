package risk

import (
	"math"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// bins of a reliability diagram, each a tenth of probability.
const bins = 10

// Reliability sets what was predicted beside what happened. Brier is the mean squared error; the
// expected calibration error is the mean over all predictions of how far their bin is off.
func Reliability(judged []store.JudgedBin) *adminv1.GetReliabilityResponse {
	out := &adminv1.GetReliabilityResponse{}
	for i := range bins {
		out.Bins = append(out.Bins, &adminv1.ReliabilityBin{Lower: float64(i) / bins, Upper: float64(i+1) / bins})
	}
	var squared, off float64
	for _, j := range judged {
		if j.Predictions == 0 || j.Bin < 0 || j.Bin >= bins {
			continue
		}
		n, bin := float64(j.Predictions), out.Bins[j.Bin]
		bin.Count, bin.Predicted, bin.Observed = int32(j.Predictions), j.Probability/n, float64(j.Interruptions)/n
		out.Predictions += int32(j.Predictions)
		out.Interruptions += int32(j.Interruptions)
		squared += j.SquaredError
		off += n * math.Abs(bin.Predicted-bin.Observed)
	}
	if out.Predictions > 0 {
		out.Brier = squared / float64(out.Predictions)
		out.ExpectedCalibrationError = off / float64(out.Predictions)
	}
	return out
}
