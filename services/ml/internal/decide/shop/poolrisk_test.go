package shop

import "testing"

func TestScoresFollowTheAdvisorsBuckets(t *testing.T) {
	for i, p := range monthlyProbability {
		if got := ScoreOf(p); got != riskScore[i] {
			t.Errorf("%v a month scores %v, want %v", p, got, riskScore[i])
		}
	}
	last := -1.0
	for rate := 0.0; rate < 3; rate += 0.001 {
		score := ScoreOf(rate)
		if score < last || score < 0 || score > 1 {
			t.Fatalf("%v a month scores %v after %v", rate, score, last)
		}
		last = score
	}
	if ScoreOf(0) != 0 || ScoreOf(500) != 1 {
		t.Errorf("never scores %v, always %v", ScoreOf(0), ScoreOf(500))
	}
}
