package evaluate_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/evaluate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// pools that fail in bursts: what just failed fails again.
func bursts() *history.Data {
	rng := rand.New(rand.NewPCG(11, 1))
	data := &history.Data{}
	for _, zone := range []string{"us-east-1a", "us-east-1b", "us-west-2a"} {
		const ticks = 6 * 24 * 20
		s := &history.Series{
			Pool: history.Pool{Type: "p3.2xlarge", Region: zone[:len(zone)-1], Zone: zone}, Set: "x", Step: 10 * time.Minute, Probed: true,
			Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Up: make([]int16, ticks), Lost: make([]int16, ticks),
		}
		rough := false
		for i := range ticks {
			if rng.IntN(100) == 0 {
				rough = !rough
			}
			s.Up[i] = 1
			if fail := rng.Float64(); fail < 0.005 || rough && fail < 0.3 {
				s.Up[i] = 0
			}
			if i > 0 && s.Up[i] < s.Up[i-1] {
				s.Lost[i] = 1
			}
		}
		data.Series = append(data.Series, s)
	}
	return data
}

func run(t *testing.T) *evaluate.Report {
	t.Helper()
	data := bursts()
	split := data.Series[0].Start.Add(13 * 24 * time.Hour)
	report, err := evaluate.Run(data, feature.NewExtractor(data.Series, nil, nil), evaluate.Options{
		Task:         evaluate.Task{Split: split, HorizonMinutes: 60, Every: 20 * time.Minute},
		Train:        hazard.Config{Every: 20 * time.Minute, Seed: 1, Trees: 30, Candidates: []hazard.Candidate{{Leaves: 6, Rate: 0.1, MinShare: 0.03, Linear: true}}},
		LeavePoolOut: true, Shuffle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestAnEvaluationTellsSkillFromNone(t *testing.T) {
	r := run(t)
	by := map[string]evaluate.Scores{}
	for _, s := range r.TimeSplit {
		by[s.Name] = s
	}
	if by["model"].AUC < 0.75 || by["model"].Brier >= by["constant"].Brier || by["constant"].AUC != 0.5 {
		t.Errorf("model %+v, constant %+v", by["model"], by["constant"])
	}
	if r.Shuffled == nil || math.Abs(*r.Shuffled-0.5) > 0.06 {
		t.Errorf("of outcomes dealt anew something is known: AUC %v", *r.Shuffled)
	}
	if r.LeavePoolOut == nil || r.LeavePoolOut.AUC < 0.7 {
		t.Errorf("on pools never seen: %+v", r.LeavePoolOut)
	}
	if r.BreakEven.NetUtility <= r.BreakEvenOf["constant"] || r.BreakEven.Precision < 0.25 {
		t.Errorf("draining where it pays: %+v, by a constant %v", r.BreakEven, r.BreakEvenOf["constant"])
	}
	for i, perDay := range []float64{1, 3} {
		if p := r.AtBudget[i]; p.DrainsPerDay > perDay || p.Recall <= 0 || !(p.LeadMinutes[0] <= p.LeadMinutes[1] && p.LeadMinutes[1] <= p.LeadMinutes[2]) {
			t.Errorf("at %v drains a day: %+v", perDay, p)
		}
	}
}
