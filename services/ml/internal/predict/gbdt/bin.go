package gbdt

import (
	"math"
	"slices"
	"sort"
)

const (
	// maxBins of a feature; bin 0 is for missing values.
	maxBins = 255
	missing = 0
)

// cuts are a feature's thresholds: bin b ≥ 1 holds the values up to cuts[b-1] and
// above the one before; the last bin is open.
type cuts []float64

// newCuts puts thresholds between different values, about as many rows in each bin.
func newCuts(column []float64) cuts {
	values := make([]float64, 0, len(column))
	for _, v := range column {
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	distinct := slices.Compact(slices.Clone(values))
	if len(distinct) < maxBins {
		return between(distinct)
	}
	var picked []float64
	for b := range maxBins - 1 {
		v := values[b*len(values)/(maxBins-1)]
		if len(picked) == 0 || v > picked[len(picked)-1] {
			picked = append(picked, v)
		}
	}
	return between(picked)
}

// between are the middles of neighbours. Where there is no number in the middle the lower one
// stands: values ≤ it go left.
func between(sorted []float64) cuts {
	var c cuts
	for i := 1; i < len(sorted); i++ {
		middle := sorted[i-1] + (sorted[i]-sorted[i-1])/2
		if !(middle < sorted[i]) || math.IsInf(middle, 0) {
			middle = sorted[i-1]
		}
		c = append(c, middle)
	}
	return c
}

func (c cuts) bin(v float64) uint8 {
	if math.IsNaN(v) {
		return missing
	}
	return uint8(1 + sort.SearchFloat64s(c, v)) // first cut ≥ v
}

// binned is a table of bins, row by row, so that one row's bins share a cache line.
type binned struct {
	cuts     []cuts
	features int
	bins     []uint8
}

func newBinned(columns [][]float64, all []cuts) *binned {
	b := &binned{cuts: all, features: len(columns), bins: make([]uint8, len(columns)*len(columns[0]))}
	for f, column := range columns {
		for i, v := range column {
			b.bins[i*b.features+f] = all[f].bin(v)
		}
	}
	return b
}

func (b *binned) row(i int32) []uint8 {
	at := int(i) * b.features
	return b.bins[at : at+b.features]
}
