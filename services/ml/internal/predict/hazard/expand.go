package hazard

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
)

// Shares of the examples that are repeated with features taken out, so that the
// trees also learn what to say where a fleet knows less than the training data.
const (
	withoutProbes = 0.25
	withoutFleet  = 0.10
	// everyFar: of leads of an hour and more one example in so many is used. Their
	// rows differ little, and most of what is asked is near.
	everyFar = 8
	farFrom  = 60
)

// masks of an example: the groups that are kept.
func masks(n int, robust bool) []feature.Group {
	keep := []feature.Group{feature.Probe}
	if !robust {
		return keep
	}
	d := draw(uint64(n), 1)
	if d < withoutProbes {
		keep = append(keep, feature.Fleet)
	}
	if d < withoutFleet {
		keep = append(keep, feature.Market)
	}
	return keep
}

// Masked is the row with the groups above the given one missing.
func Masked(r feature.Row, keep feature.Group) feature.Row {
	for i, f := range feature.Schema {
		if f.Group > keep {
			r[i] = math.NaN()
		}
	}
	return r
}

// expand examples to one or two rows per lead bucket: the steps survived, by their
// number, and the loss. robust adds the masked repetitions.
func expand(all []Example, robust bool) *gbdt.Data {
	d := &gbdt.Data{Columns: make([][]float64, feature.Count)}
	add := func(row *feature.Row, y, w float64) {
		if w <= 1e-6 {
			return
		}
		for f, v := range row {
			d.Columns[f] = append(d.Columns[f], v)
		}
		d.Y, d.W = append(d.Y, y), append(d.W, w)
	}
	for n := range all {
		e := &all[n]
		far := n%everyFar == 0
		for _, keep := range masks(n, robust) {
			row := Masked(e.Row, keep)
			for b := range Buckets {
				if Edges[b] >= farFrom && !far {
					break
				}
				row[feature.LeadMinutes] = Edges[b]
				lost := float64(e.Outcome.Lost[b])
				add(&row, 1, lost)
				add(&row, 0, float64(e.Outcome.Trials[b])-lost)
			}
		}
	}
	return d
}
