// Package evaluate measures predictions against what happened.
package evaluate

import (
	"cmp"
	"math"
	"slices"
)

// Scored is a prediction and what became of it.
type Scored struct {
	// P is the probability that was given.
	P float64
	// Y is 1 if it happened, else 0; of several units, the share.
	Y float64
	// W weighs it: 1, or more where it also stands for cases whose end was not seen.
	W float64
}

// AUC is the chance that a case that happened was given more than one that did
// not, ties counted half; NaN if all or none happened.
func AUC(all []Scored) float64 {
	sorted := byP(all)
	var wins, yes, no float64
	for i := 0; i < len(sorted); {
		var y, n float64
		j := i
		for ; j < len(sorted) && sorted[j].P == sorted[i].P; j++ {
			y, n = y+sorted[j].W*sorted[j].Y, n+sorted[j].W*(1-sorted[j].Y)
		}
		wins += y * (no + n/2)
		yes, no, i = yes+y, no+n, j
	}
	return wins / (yes * no)
}

// byP is all, the least first.
func byP(all []Scored) []Scored {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Scored) int { return cmp.Compare(a.P, b.P) })
	return sorted
}

// AveragePrecision is the mean of precision over recall, equal predictions taken
// together; NaN if none happened.
func AveragePrecision(all []Scored) float64 {
	sorted := byP(all)
	slices.Reverse(sorted)
	var hit, taken, sum, total float64
	for _, s := range sorted {
		total += s.W * s.Y
	}
	for i := 0; i < len(sorted); {
		var y float64
		j := i
		for ; j < len(sorted) && sorted[j].P == sorted[i].P; j++ {
			y, taken = y+sorted[j].W*sorted[j].Y, taken+sorted[j].W
		}
		hit += y
		sum += y / total * hit / taken
		i = j
	}
	if total == 0 {
		return math.NaN()
	}
	return sum
}

// Brier is the mean squared error.
func Brier(all []Scored) float64 {
	sum, weight := 0.0, 0.0
	for _, s := range all {
		sum += s.W * (s.P - s.Y) * (s.P - s.Y)
		weight += s.W
	}
	return sum / weight
}

// LogLoss is the mean of −log of the probability given to what happened, in nats;
// a probability counts as at least 1e-6.
func LogLoss(all []Scored) float64 {
	sum, weight := 0.0, 0.0
	for _, s := range all {
		p := min(max(s.P, 1e-6), 1-1e-6)
		sum -= s.W * (s.Y*math.Log(p) + (1-s.Y)*math.Log(1-p))
		weight += s.W
	}
	return sum / weight
}

// Bin of a reliability table.
type Bin struct {
	// From and To bound the predictions in it.
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// Rows in it, and their weight.
	Rows   int     `json:"rows"`
	Weight float64 `json:"weight"`
	// Said is the mean prediction, Was the share that happened.
	Said float64 `json:"said"`
	Was  float64 `json:"was"`
}

// bins of equal width that predictions are put into.
const bins = 10

// Reliability of ten bins of equal width; empty ones are left out.
func Reliability(all []Scored) []Bin {
	var table [bins]Bin
	for _, s := range all {
		i := min(bins-1, int(s.P*bins))
		b := &table[i]
		b.Rows++
		b.Weight += s.W
		b.Said += s.W * s.P
		b.Was += s.W * s.Y
	}
	var out []Bin
	for i, b := range table {
		if b.Weight > 0 {
			b.From, b.To, b.Said, b.Was = float64(i)/bins, float64(i+1)/bins, b.Said/b.Weight, b.Was/b.Weight
			out = append(out, b)
		}
	}
	return out
}

// ECE is the expected calibration error (Naeini 2015): the mean of |said − was|
// over the reliability table, by rows.
func ECE(all []Scored) float64 {
	sum, weight := 0.0, 0.0
	for _, b := range Reliability(all) {
		sum += b.Weight * math.Abs(b.Said-b.Was)
		weight += b.Weight
	}
	return sum / weight
}
