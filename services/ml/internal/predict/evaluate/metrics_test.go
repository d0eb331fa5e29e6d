package evaluate_test

import (
	"math"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/evaluate"
)

func all(pairs ...[2]float64) []evaluate.Scored {
	out := make([]evaluate.Scored, len(pairs))
	for i, p := range pairs {
		out[i] = evaluate.Scored{P: p[0], Y: p[1], W: 1}
	}
	return out
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Worked by hand: pairs (0.8,1) (0.6,0) (0.4,1) (0.2,0).
func TestMetricsAsByHand(t *testing.T) {
	s := all([2]float64{0.8, 1}, [2]float64{0.6, 0}, [2]float64{0.4, 1}, [2]float64{0.2, 0})
	near(t, "AUC", evaluate.AUC(s), 3.0/4)                           // 0.8 beats both, 0.4 beats 0.2
	near(t, "AP", evaluate.AveragePrecision(s), 0.5*1+0.5*2.0/3)     // precision 1 and 2/3 at each half of the recall
	near(t, "Brier", evaluate.Brier(s), (0.04+0.36+0.36+0.04)/4)     // squares
	near(t, "ECE", evaluate.ECE(s), (0.2+0.6+0.6+0.2)/4)             // each in a bin of its own
	near(t, "log-loss", evaluate.LogLoss(s), -math.Log(0.8*0.4)/2.0) // 0.8·0.4·0.4·0.8 under the root
}

func TestTiesCountHalf(t *testing.T) {
	s := all([2]float64{0.5, 1}, [2]float64{0.5, 0}, [2]float64{0.5, 0})
	near(t, "AUC", evaluate.AUC(s), 0.5)
	near(t, "AP", evaluate.AveragePrecision(s), 1.0/3)
}

func TestAWeightIsSoManyRows(t *testing.T) {
	one := []evaluate.Scored{{P: 0.7, Y: 1, W: 2}, {P: 0.3, Y: 0, W: 3}, {P: 0.6, Y: 0, W: 1}, {P: 0.2, Y: 1, W: 1}}
	var many []evaluate.Scored
	for _, s := range one {
		for range int(s.W) {
			many = append(many, evaluate.Scored{P: s.P, Y: s.Y, W: 1})
		}
	}
	for name, metric := range map[string]func([]evaluate.Scored) float64{
		"AUC": evaluate.AUC, "AP": evaluate.AveragePrecision, "Brier": evaluate.Brier, "log-loss": evaluate.LogLoss, "ECE": evaluate.ECE,
	} {
		near(t, name, metric(one), metric(many))
	}
}

func TestOneKindOfOutcomeHasNoAUC(t *testing.T) {
	if v := evaluate.AUC(all([2]float64{0.5, 1}, [2]float64{0.4, 1})); !math.IsNaN(v) {
		t.Errorf("AUC %v, want none", v)
	}
	if v := evaluate.AveragePrecision(all([2]float64{0.5, 0})); !math.IsNaN(v) {
		t.Errorf("average precision %v, want none", v)
	}
}

func TestCertainPredictionsThatFailCostMuchButNotAll(t *testing.T) {
	if v := evaluate.LogLoss(all([2]float64{1, 0})); math.IsInf(v, 0) || v < 10 {
		t.Errorf("log-loss %v", v)
	}
	if bins := evaluate.Reliability(all([2]float64{1, 1}, [2]float64{0, 0})); len(bins) != 2 || bins[1].Was != 1 {
		t.Errorf("bins %+v", bins)
	}
}
