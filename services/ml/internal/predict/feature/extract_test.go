package feature_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) // a Monday

// random series: pools of two types in two regions, up and down by chance, with holes.
func random(seed uint64, ticks int) []*history.Series {
	rng := rand.New(rand.NewPCG(seed, 3))
	var all []*history.Series
	for i, pool := range []history.Pool{
		{Type: "p3.2xlarge", Region: "us-east-1", Zone: "us-east-1a"},
		{Type: "p3.2xlarge", Region: "us-east-1", Zone: "us-east-1b"},
		{Type: "p3.2xlarge", Region: "us-west-2", Zone: "us-west-2a"},
		{Type: "m5.large", Region: "us-east-1", Zone: "us-east-1a"},
	} {
		s := &history.Series{
			Pool: pool, Set: "x", Start: start.Add(time.Duration(i) * time.Minute), Step: 10 * time.Minute, Probed: i != 3,
			Up: make([]int16, ticks), Lost: make([]int16, ticks), Price: make([]float64, ticks),
		}
		up := int16(rng.IntN(3))
		for t := range ticks {
			before := up
			if rng.IntN(8) == 0 {
				up = int16(rng.IntN(4))
			}
			s.Up[t], s.Price[t] = up, rng.Float64()
			if t > 0 && up < before {
				s.Lost[t] = before - up
			}
			if s.Probed && rng.IntN(40) == 0 {
				s.Up[t], s.Lost[t] = history.Unknown, 0
			}
		}
		all = append(all, s)
	}
	return all
}

// The heart of honesty: what comes later changes no feature.
func TestFeaturesKnowNothingOfTheFuture(t *testing.T) {
	const ticks = 1200
	for seed := range uint64(8) {
		all := random(seed, ticks)
		whole := feature.NewExtractor(all, nil, nil)
		rng := rand.New(rand.NewPCG(seed, 4))
		for range 12 {
			i, at := rng.IntN(len(all)), rng.IntN(ticks)
			now := all[i].At(at)
			var known []*history.Series
			own := -1
			for j, s := range all {
				tick, ok := s.Tick(now)
				if !ok {
					if now.Before(s.Start) {
						continue // not yet begun
					}
					tick = len(s.Up) - 1
				}
				if j == i {
					own = len(known)
				}
				known = append(known, s.Until(tick))
			}
			a, b := whole.Row(i, at, math.NaN()), feature.NewExtractor(known, nil, nil).Row(own, at, math.NaN())
			for f := range a {
				if a[f] != b[f] && !(math.IsNaN(a[f]) && math.IsNaN(b[f])) {
					t.Fatalf("seed %d, tick %d of %s: %s is %v, and %v where the future is cut off", seed, at, all[i].Pool, feature.Schema[f].Name, a[f], b[f])
				}
			}
		}
	}
}

func TestFeaturesStayInTheirRanges(t *testing.T) {
	all := random(99, 400)
	x := feature.NewExtractor(all, nil, nil)
	for i, s := range all {
		for tick := range s.Up {
			for f, v := range x.Row(i, tick, float64(tick*1000)) {
				if d := feature.Schema[f]; v < d.Min || v > d.Max || math.IsInf(v, 0) {
					t.Fatalf("%s is %v, outside of %v to %v", d.Name, v, d.Min, d.Max)
				}
			}
		}
	}
}

// One pool, by hand: 10-minute ticks, down for ticks 6 to 8 and since 12.
func TestFeaturesByHand(t *testing.T) {
	up := []int16{1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1}
	s := &history.Series{Pool: history.Pool{Type: "m5.large", Region: "r", Zone: "ra"}, Start: start, Step: 10 * time.Minute, Probed: true, Up: up, Lost: make([]int16, len(up))}
	s.Lost[6], s.Lost[12] = 1, 1
	sister := *s
	sister.Zone, sister.Up, sister.Lost = "rb", make([]int16, len(up)), make([]int16, len(up))
	kinds := func(string) (catalogue.Type, bool) {
		return catalogue.Type{Name: "m5.large", Family: "m5", VCPU: 2, MemoryMiB: 8192}, true
	}
	r := feature.NewExtractor([]*history.Series{s, &sister}, kinds, nil).Row(0, 15, math.NaN())
	for f, want := range map[int]float64{
		feature.UptimeMinutes:     10,
		feature.HourOfDay:         2.5,
		feature.DayOfWeek:         0,
		feature.VCPUs:             2,
		feature.MemoryPerVCPU:     4,
		feature.Generation:        5,
		feature.SinceInterruption: 30,
		feature.LossRate1h:        1 / (4.0/6 + 1), // ticks 10 to 15: four of them up
		feature.LossRate24h:       2 / (11.0/6 + 1),
		feature.DownShare1h:       2.0 / 6,
		feature.DownShare24h:      5.0 / 16,
		feature.LastRunMinutes:    30,
		feature.MeanRunMinutes:    math.Sqrt(60 * 30),
		feature.LastDownMinutes:   20,
		feature.SistersDownNow:    1,
		feature.UnitsUpShare:      1,
		feature.RegionLossRate1h:  0,
	} {
		if math.Abs(r[f]-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", feature.Schema[f].Name, r[f], want)
		}
	}
	for _, f := range []int{feature.AdvisorBucket, feature.PriceOverOnDemand, feature.ElsewhereDownNow, feature.SinceRegionLoss} {
		if !math.IsNaN(r[f]) {
			t.Errorf("%s is %v and should be missing", feature.Schema[f].Name, r[f])
		}
	}
}

func TestAFleetThatIsNotProbedSaysNothingOfCapacity(t *testing.T) {
	all := random(5, 300)
	r := feature.NewExtractor(all, nil, nil).Row(3, 200, 77)
	for f, d := range feature.Schema {
		if d.Group == feature.Probe && !math.IsNaN(r[f]) {
			t.Errorf("%s is %v for instances that only ran when they were wanted", d.Name, r[f])
		}
	}
	if r[feature.UptimeMinutes] != 77 || math.IsNaN(r[feature.LossRate24h]) {
		t.Errorf("uptime %v, losses %v", r[feature.UptimeMinutes], r[feature.LossRate24h])
	}
}

func TestAPoolThatNeverRanAnythingHasItsRegion(t *testing.T) {
	all := random(6, 300)
	x := feature.NewExtractor(all, nil, nil)
	at := all[0].At(250)
	r := feature.NewRow()
	x.Fleet(&r, history.Pool{Type: "p3.2xlarge", Region: "us-east-1", Zone: "us-east-1f"}, at)
	if math.IsNaN(r[feature.RegionLossRate24h]) || !math.IsNaN(r[feature.LossRate24h]) {
		t.Errorf("region %v, own %v", r[feature.RegionLossRate24h], r[feature.LossRate24h])
	}
	own := feature.NewRow()
	x.Fleet(&own, all[0].Pool, at)
	tick, _ := all[0].Tick(at)
	if want := x.Row(0, tick, math.NaN()); own[feature.LossRate24h] != want[feature.LossRate24h] {
		t.Errorf("live %v, recorded %v", own[feature.LossRate24h], want[feature.LossRate24h])
	}
}

func TestTheSchemaIsSound(t *testing.T) {
	seen := map[string]bool{}
	for i, f := range feature.Schema {
		if f.Name == "" || f.Meaning == "" || f.Unit == "" || !(f.Min < f.Max) || seen[f.Name] {
			t.Errorf("feature %d: %+v", i, f)
		}
		seen[f.Name] = true
		if k, ok := feature.Index(f.Name); !ok || k != i {
			t.Errorf("%s is at %d, want %d", f.Name, k, i)
		}
	}
	if _, ok := feature.Index("nothing"); ok {
		t.Error("a feature that is not there was found")
	}
}

func TestGenerationIsReadOffTheFamily(t *testing.T) {
	for family, want := range map[string]int{"m5": 5, "c6gn": 6, "u-6tb1": 6, "x2gd": 2, "trn1": 1, "mac": 0, "hpc7a": 7} {
		if got := feature.GenerationOf(family); got != want {
			t.Errorf("%s: %d, want %d", family, got, want)
		}
	}
}
