package savings

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// at is so many minutes after noon.
func at(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// runs is a node with a price in millionths of a USD per hour, between two minutes; 0 as the end: it still runs.
func runs(instance string, spot bool, price int64, from, until float64) store.MeteredNode {
	n := store.MeteredNode{Instance: instance, Spot: spot, Price: price, From: at(from), CPU: 2000}
	if until != 0 {
		n.Until = at(until)
	}
	return n
}

func swap(n byte, mechanism string, done float64, launched []string, taken ...string) store.Swap {
	s := store.Swap{ID: uuid.UUID{n}, Mechanism: mechanism, Over: true, Launched: launched}
	if mechanism != "interruption" {
		s.CompletedAt = at(done)
	}
	for _, instance := range taken {
		s.Taken = append(s.Taken, store.TakenNode{Instance: instance})
	}
	return s
}

// cents is an amount in hundredths of a cent, by hand: none of the cases has less.
func cents(amount int64) float64 { return float64(amount / 360_000_000) }

// sum of what a span comes to.
type sum struct {
	Actual                               float64
	Saved                                map[string]float64
	Spot, OnDemand, Unpriced, MeteredMin float64
}

func sumUp(hours []store.MeteredHour) sum {
	out := sum{Saved: map[string]float64{}}
	saved := map[string]int64{}
	for _, h := range hours {
		out.Actual += cents(h.Actual)
		for mechanism, amount := range h.Saved {
			saved[mechanism] += amount
		}
		out.Spot += float64(h.SpotMs) / 60_000
		out.OnDemand += float64(h.OnDemandMs) / 60_000
		out.Unpriced += float64(h.UnpricedMs) / 60_000
		out.MeteredMin += float64(h.MeteredMs) / 60_000
	}
	for mechanism, amount := range saved {
		if amount != 0 {
			out.Saved[mechanism] = cents(amount)
		}
	}
	return out
}

// minutely meters minute by minute, as central does.
func minutely(nodes []store.MeteredNode, swaps []store.Swap, minutes int) store.Metered {
	var all []store.Metered
	for m := range minutes {
		all = append(all, count(store.Span{From: at(float64(m)), Until: at(float64(m + 1)), Nodes: nodes, Swaps: swaps}))
	}
	return join(all)
}

// join adds up what spans came to.
func join(all []store.Metered) store.Metered {
	hours := map[time.Time]*store.MeteredHour{}
	swaps := map[uuid.UUID]*store.MeteredSwap{}
	for _, one := range all {
		for _, h := range one.Hours {
			if hours[h.Hour] == nil {
				hours[h.Hour] = &store.MeteredHour{Hour: h.Hour, Saved: map[string]int64{}}
			}
			sum := hours[h.Hour]
			sum.Actual += h.Actual
			sum.SpotMs += h.SpotMs
			sum.OnDemandMs += h.OnDemandMs
			sum.UnpricedMs += h.UnpricedMs
			sum.MeteredMs += h.MeteredMs
			for mechanism, amount := range h.Saved {
				sum.Saved[mechanism] += amount
			}
		}
		for _, s := range one.Swaps {
			if swaps[s.ID] == nil {
				swaps[s.ID] = &store.MeteredSwap{ID: s.ID}
			}
			sum := swaps[s.ID]
			sum.Realised += s.Realised
			sum.PromisedMs += s.PromisedMs
			sum.Changed, sum.Idle = s.Changed, s.Idle
		}
	}
	var out store.Metered
	for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		out.Hours = append(out.Hours, *hours[hour])
	}
	for _, id := range slices.SortedFunc(maps.Keys(swaps), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		out.Swaps = append(out.Swaps, *swaps[id])
	}
	return out
}

// An on-demand node costs 0.96 USD an hour, a spot node 0.30: in hundredths of a cent per hour 9600 and 3000,
// per minute 160 and 50.
const (
	onDemand = int64(960_000)
	spot     = int64(300_000)
	dearSpot = int64(360_000) // 60 a minute
)

func TestAnHourAddedUpByHand(t *testing.T) {
	spotOptimized := swap(1, "spot_optimize", 30, []string{"new"}, "old")
	for _, c := range []struct {
		name  string
		nodes []store.MeteredNode
		swaps []store.Swap
		want  sum
	}{
		{
			"one node all the time",
			[]store.MeteredNode{runs("a", false, onDemand, -60, 0)},
			nil,
			sum{Actual: 9600, OnDemand: 60},
		},
		{
			// Both run for 5 minutes, which costs 5 × 50 more; then the old one is spared for 30: 30 × (160 − 50).
			"one node replaced mid-hour",
			[]store.MeteredNode{runs("old", false, onDemand, -60, 30), runs("new", true, spot, 25, 0)},
			[]store.Swap{spotOptimized},
			sum{Actual: 30*160 + 35*50, Saved: map[string]float64{"spot_optimize": 30*110 - 5*50}, Spot: 35, OnDemand: 30},
		},
		{
			// Nothing took its place: from minute 40 on it neither costs nor saves.
			"the launched node is lost",
			[]store.MeteredNode{runs("old", false, onDemand, -60, 30), runs("new", true, spot, 30, 40)},
			[]store.Swap{spotOptimized},
			sum{Actual: 30*160 + 10*50, Saved: map[string]float64{"spot_optimize": 10 * 110}, Spot: 10, OnDemand: 30},
		},
		{
			// Two nodes for two: with one of them gone, half of what was taken away counts: 160 − 50 = 110.
			"one of two launched nodes is lost",
			[]store.MeteredNode{
				runs("old1", false, onDemand, -60, -1), runs("old2", false, onDemand, -60, -1), runs("new1", true, spot, -5, 0), runs("new2", true, spot, -5, 30),
			},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new1", "new2"}, "old1", "old2")},
			sum{Actual: 60*50 + 30*50, Saved: map[string]float64{"spot_optimize": 30*220 + 30*110}, Spot: 90},
		},
		{
			// The second takes the first one's node away at 30. The first goes on to count 160 − 60, the second adds 60 − 50.
			"two optimizations stacked",
			[]store.MeteredNode{runs("old", false, onDemand, -60, -1), runs("new", true, dearSpot, -5, 30), runs("newer", true, spot, 30, 0)},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old"), swap(2, "bin_pack", 31, []string{"newer"}, "new")},
			sum{Actual: 30*60 + 30*50, Saved: map[string]float64{"spot_optimize": 60 * 100, "bin_pack": 30 * 10}, Spot: 60},
		},
		{
			// Spot again, and as dear: the optimization's saving goes on as if nothing had been.
			"interrupted and replaced by spot",
			[]store.MeteredNode{runs("old", false, onDemand, -60, -1), runs("new", true, spot, -5, 30), runs("again", true, spot, 30, 0)},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old"), swap(2, "interruption", 0, []string{"again"}, "new")},
			sum{Actual: 60 * 50, Saved: map[string]float64{"spot_optimize": 60 * 110}, Spot: 60},
		},
		{
			// On demand: the optimization keeps its 110, the interruption costs 160 − 50 = 110: nothing is saved.
			"interrupted and replaced on demand",
			[]store.MeteredNode{runs("old", false, onDemand, -60, -1), runs("new", true, spot, -5, 30), runs("again", false, onDemand, 30, 0)},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old"), swap(2, "interruption", 0, []string{"again"}, "new")},
			sum{
				Actual: 30*50 + 30*160, Saved: map[string]float64{"spot_optimize": 60 * 110, "interruption": -30 * 110}, Spot: 30, OnDemand: 30,
			},
		},
		{
			// A node of the customer's own, whose replacement runs for 2 minutes beside it.
			"interrupted where nothing was optimized",
			[]store.MeteredNode{runs("theirs", true, dearSpot, -60, 30), runs("again", true, spot, 28, 0)},
			[]store.Swap{swap(2, "interruption", 0, []string{"again"}, "theirs")},
			sum{Actual: 30*60 + 32*50, Saved: map[string]float64{"interruption": 30*10 - 2*50}, Spot: 62},
		},
		{
			"a false alarm leaves both running",
			[]store.MeteredNode{runs("theirs", true, dearSpot, -60, 0), runs("again", true, spot, 30, 0)},
			[]store.Swap{swap(2, "interruption", 0, []string{"again"}, "theirs")},
			sum{Actual: 60*60 + 30*50, Saved: map[string]float64{"interruption": -30 * 50}, Spot: 90},
		},
		{
			// It costs nothing as far as anybody knows, and it saves nothing for the same reason.
			"the launched node has no price",
			[]store.MeteredNode{runs("old", false, onDemand, -60, -1), runs("new", true, 0, -5, 0)},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old")},
			sum{Actual: 0, Spot: 60, Unpriced: 60},
		},
		{
			"the node that was taken away has no price",
			[]store.MeteredNode{runs("old", false, 0, -60, -1), runs("new", true, spot, -5, 0)},
			[]store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old")},
			sum{Actual: 60 * 50, Spot: 60},
		},
		{
			// Rolled back: what was launched ran for 20 minutes for nothing.
			"an optimization undone",
			[]store.MeteredNode{runs("old", false, onDemand, -60, 0), runs("new", true, spot, 10, 30)},
			[]store.Swap{swap(1, "spot_optimize", 30, []string{"new"})},
			sum{Actual: 60*160 + 20*50, Saved: map[string]float64{"spot_optimize": -20 * 50}, Spot: 20, OnDemand: 60},
		},
		{
			// Of three nodes of 2 CPUs one was taken away. At 30 the cluster has grown to what it was: it is undone.
			"a node taken away and bought again",
			[]store.MeteredNode{
				runs("a", false, onDemand, -60, 0), runs("b", false, onDemand, -60, 0), runs("c", false, onDemand, -60, -1), runs("d", false, onDemand, 30, 0),
			},
			[]store.Swap{func() store.Swap {
				s := swap(1, "bin_pack", -1, nil, "c")
				s.CPUBefore = 6000
				return s
			}()},
			sum{Actual: 120*160 + 30*160, Saved: map[string]float64{"bin_pack": 30 * 160}, OnDemand: 150},
		},
		{
			// Its name went to another instance: by its price when it was decided.
			"a node whose row is gone",
			[]store.MeteredNode{runs("new", true, spot, -5, 0)},
			[]store.Swap{{ID: uuid.UUID{1}, Mechanism: "spot_optimize", Over: true, Launched: []string{"new"}, Taken: []store.TakenNode{{Instance: "old", Price: onDemand}}}},
			sum{Actual: 60 * 50, Saved: map[string]float64{"spot_optimize": 60 * 110}, Spot: 60},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want.Saved == nil {
				c.want.Saved = map[string]float64{}
			}
			c.want.MeteredMin = 60
			if diff := cmp.Diff(c.want, sumUp(minutely(c.nodes, c.swaps, 60).Hours)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPriceThatChangesWithinTheHourCountsFromThenOn(t *testing.T) {
	nodes := func(spotPrice, onDemandPrice int64) []store.MeteredNode {
		return []store.MeteredNode{runs("old", false, onDemandPrice, -60, -1), runs("new", true, spotPrice, -5, 0)}
	}
	swaps := []store.Swap{swap(1, "spot_optimize", -1, []string{"new"}, "old")}
	var all []store.Metered
	for m := range 60 {
		now := nodes(spot, onDemand)
		if m >= 20 { // both sides have become dearer: 60 and 180 a minute
			now = nodes(dearSpot, 1_080_000)
		}
		all = append(all, count(store.Span{From: at(float64(m)), Until: at(float64(m + 1)), Nodes: now, Swaps: swaps}))
	}
	want := sum{Actual: 20*50 + 40*60, Saved: map[string]float64{"spot_optimize": 20*110 + 40*120}, Spot: 60, MeteredMin: 60}
	if diff := cmp.Diff(want, sumUp(join(all).Hours)); diff != "" {
		t.Error(diff)
	}
}

func TestAfterASilenceOnlyWhatWasThereBeforeAndAfterCounts(t *testing.T) {
	nodes := []store.MeteredNode{
		runs("stayed", false, onDemand, -60, 0), runs("also", true, spot, -60, 0), runs("came", false, onDemand, 100, 0), runs("went", false, onDemand, -60, 110),
	}
	got := count(store.Span{From: at(0), Until: at(120), Nodes: nodes})
	want := sum{Actual: 120 * 210, Saved: map[string]float64{}, Spot: 120, OnDemand: 120, MeteredMin: 60} // of two of four nodes it is known
	if diff := cmp.Diff(want, sumUp(got.Hours)); diff != "" {
		t.Error(diff)
	}
	if len(got.Hours) != 2 || got.Hours[0].Hour != noon || got.Hours[1].Hour != at(60) || got.Hours[0].Actual != got.Hours[1].Actual {
		t.Errorf("hours: %+v", got.Hours)
	}
}

func TestWhatBecameOfAPromise(t *testing.T) {
	nodes := []store.MeteredNode{runs("old", false, onDemand, -60, 20), runs("new", true, spot, 10, 50)}
	swaps := []store.Swap{swap(1, "spot_optimize", 30, []string{"new"}, "old")}
	want := []store.MeteredSwap{{ID: uuid.UUID{1}, Realised: (30*110 - 10*50) * 3.6e8, PromisedMs: 30 * 60_000, Changed: true, Idle: true}}
	if diff := cmp.Diff(want, minutely(nodes, swaps, 60).Swaps); diff != "" {
		t.Error(diff)
	}
	if got := minutely(nodes, swaps, 45).Swaps[0]; got.Idle || !got.Changed {
		t.Errorf("while the new node runs: %+v", got)
	}
	swaps[0].Over, swaps[0].CompletedAt = false, time.Time{}
	if got := minutely(nodes, swaps, 5).Swaps[0]; got.Idle || got.Changed || got.PromisedMs != 0 {
		t.Errorf("before anything was done: %+v", got)
	}
}

// history draws a cluster's nodes and swaps over an hour and a half.
func history(t *rapid.T) ([]store.MeteredNode, []store.Swap) {
	var nodes []store.MeteredNode
	for i := range rapid.IntRange(0, 8).Draw(t, "nodes") {
		n := store.MeteredNode{
			Instance: string(rune('a' + i)), Spot: rapid.Bool().Draw(t, "spot"), Price: rapid.SampledFrom([]int64{0, 1, 333_333, spot, onDemand, 7_777_777}).Draw(t, "price"),
			From: noon.Add(time.Duration(rapid.Int64Range(-4e6, 5e6).Draw(t, "from")) * time.Millisecond), CPU: rapid.Int64Range(0, 8000).Draw(t, "cpu"),
		}
		if rapid.Bool().Draw(t, "ends") {
			n.Until = n.From.Add(time.Duration(rapid.Int64Range(0, 5e6).Draw(t, "life")) * time.Millisecond)
		}
		nodes = append(nodes, n)
	}
	instance := rapid.Map(rapid.IntRange(0, 9), func(i int) string { return string(rune('a' + i)) }) // two have no row
	var swaps []store.Swap
	for i := range rapid.IntRange(0, 4).Draw(t, "swaps") {
		s := store.Swap{
			ID: uuid.UUID{byte(i + 1)}, Mechanism: rapid.SampledFrom([]string{"spot_optimize", "bin_pack", "interruption"}).Draw(t, "mechanism"),
			Over: rapid.Bool().Draw(t, "over"), CPUBefore: rapid.Int64Range(0, 20_000).Draw(t, "cpu before"),
			Launched: rapid.SliceOfNDistinct(instance, 0, 3, rapid.ID[string]).Draw(t, "launched"),
		}
		for _, taken := range rapid.SliceOfNDistinct(instance, 0, 3, rapid.ID[string]).Draw(t, "taken") {
			s.Taken = append(s.Taken, store.TakenNode{Instance: taken, Price: rapid.Int64Range(0, 2_000_000).Draw(t, "then")})
		}
		if rapid.Bool().Draw(t, "done") {
			s.CompletedAt = noon.Add(time.Duration(rapid.Int64Range(-1e6, 5e6).Draw(t, "completed")) * time.Millisecond)
		}
		swaps = append(swaps, s)
	}
	return nodes, swaps
}

func TestHowTimeIsCutChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, swaps := history(t)
		spans := func(longest int64) store.Metered {
			var all []store.Metered
			for from := int64(0); from < 5_400_000; {
				until := min(from+rapid.Int64Range(1, longest).Draw(t, "span"), 5_400_000)
				all = append(all, count(store.Span{
					From: noon.Add(time.Duration(from) * time.Millisecond), Until: noon.Add(time.Duration(until) * time.Millisecond), Nodes: nodes, Swaps: swaps,
				}))
				from = until
			}
			return join(all)
		}
		one, other := spans(pause.Milliseconds()), spans(pause.Milliseconds())
		if diff := cmp.Diff(one, other); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestActualAndSavedAreTheBaselineInEverySum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		found := &store.History{At: noon.Add(48 * time.Hour)}
		all := total{Spent: store.Spent{Saved: map[string]int64{}}}
		millionths := rapid.Int64Range(-1e12, 1e12)
		for range rapid.IntRange(0, 5).Draw(t, "cells") {
			one := total{Spent: store.Spent{Actual: rapid.Int64Range(0, 1e12).Draw(t, "actual"), Saved: map[string]int64{
				"spot_optimize": millionths.Draw(t, "spot_optimize"), "bin_pack": millionths.Draw(t, "bin_pack"), "interruption": millionths.Draw(t, "interruption"),
			}}, existedMs: existed(found, noon, noon.Add(time.Hour))}
			all.add(one)
			p := one.point(noon, noon.Add(time.Hour))
			sumsUp(t, p.GetActual(), p.GetSaved(), p.GetBaseline(), p.GetByMechanism())
		}
		p := all.point(noon, noon.Add(time.Hour))
		sumsUp(t, p.GetActual(), p.GetSaved(), p.GetBaseline(), p.GetByMechanism())
	})
}

// sumsUp compares whole millionths: what a client prints with six digits adds up by them.
func sumsUp(t *rapid.T, actual, saved, baseline float64, by map[string]float64) {
	m := func(usd float64) int64 {
		if usd < 0 {
			return int64(usd*1e6 - 0.5)
		}
		return int64(usd*1e6 + 0.5)
	}
	parts := int64(0)
	for _, part := range by {
		parts += m(part)
	}
	if m(actual)+m(saved) != m(baseline) || parts != m(saved) {
		t.Fatalf("%v + %v is not %v, or %v is not %v", actual, saved, baseline, by, saved)
	}
}
