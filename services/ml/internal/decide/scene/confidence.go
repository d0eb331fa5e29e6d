package scene

import (
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

const (
	bestConfidence  = 0.95
	staleConfidence = 0.6 // of it, when prices are as old as staleAge or older
	staleAge        = 90 * 24 * time.Hour
	freshAge        = 24 * time.Hour
	lateState       = 10 * time.Minute
	lateConfidence  = 0.9
	staleSource     = 0.95 // for each source that is too old to be sure of
)

// Confidence in a decision falls with the age of the spot prices, from a day to three months
// (a price differs from the day before's by a median of about 1 %, and only 57 % of
// interruption buckets are the same two months later), with the share of
// nodes whose price is unknown, when the state is old, and with each source that is stale.
func (w *World) Confidence() float64 {
	spot, _, _ := w.Market.AsOf(w.State.GetRegion())
	age := min(max(0, w.At.Sub(spot)-freshAge), staleAge-freshAge)
	score := bestConfidence * (1 - (1-staleConfidence)*float64(age)/float64(staleAge-freshAge))
	known := 0
	for _, n := range w.Nodes {
		if n.Price > 0 {
			known++
		}
	}
	if len(w.Nodes) > 0 {
		score *= 0.5 + 0.5*float64(known)/float64(len(w.Nodes))
	}
	if updated := w.State.GetLastUpdated(); updated != nil && w.At.Sub(updated.AsTime()) > lateState {
		score *= lateConfidence
	}
	for range w.StaleSources() {
		score *= staleSource
	}
	return figure.Digits(score)
}

// StaleSources are the market's sources that are too old to be sure of in the cluster's
// region, as metadata has them.
func (w *World) StaleSources() []any {
	stale := []any{}
	for _, source := range w.Market.Stale(w.State.GetRegion(), w.At) {
		stale = append(stale, source)
	}
	return stale
}
