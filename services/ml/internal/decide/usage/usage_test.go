package usage

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
)

// samples of a seed, over several orders of magnitude.
func samples(rng *rand.Rand, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = math.Exp(6 * rng.NormFloat64())
	}
	return values
}

func TestQuantilesAreNeverBelowTheTrueOneNorFivePercentAbove(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		values := samples(rng, 1+rng.IntN(300))
		var h Histogram
		for _, v := range values {
			h.Add(v, 1)
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.95, 0.99, 1} {
			truth := values[max(0, int(math.Ceil(q*float64(len(values))-1e-9))-1)]
			got, hour := h.Quantile(q), QuantileOf(histogram.Collect(values), q)
			if got < truth || got > max(1, truth*histogram.Growth)*(1+1e-9) {
				t.Fatalf("quantile %g of %d samples is %g, the true one %g", q, len(values), got, truth)
			}
			if math.Abs(hour-got) > 1e-9*got {
				t.Fatalf("the hour's quantile %g is %g, the histogram's %g", q, hour, got)
			}
		}
	}
}

func TestHistogramsMergeExactly(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		a, b := samples(rng, 1+rng.IntN(60)), samples(rng, 1+rng.IntN(60))
		var parts, whole Histogram
		parts.AddHour(histogram.Collect(a), 1)
		parts.AddHour(histogram.Collect(b), 1)
		whole.AddHour(histogram.Collect(slices.Concat(a, b)), 1)
		if parts != whole {
			t.Fatal("two hours merged differ from one hour of all samples")
		}
	}
}

func TestTheShareAboveIsNeverUnderstated(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		values := samples(rng, 1+rng.IntN(200))
		var h Histogram
		h.AddHour(histogram.Collect(values), 1)
		at := math.Exp(6 * rng.NormFloat64())
		count := func(limit float64) float64 {
			n := 0
			for _, v := range values {
				if v > limit {
					n++
				}
			}
			return float64(n) / float64(len(values))
		}
		if got := h.Above(at); got < count(at)-1e-12 || got > count(histogram.Lower(histogram.Bucket(at))*(1-1e-12))+1e-12 {
			t.Fatalf("%g of samples above %g, true share %g", got, at, count(at))
		}
	}
	var h Histogram
	h.Add(100, 1)
	if h.Above(100) != 0 || h.Above(h.Quantile(1)) != 0 {
		t.Error("something is above the largest sample")
	}
}

func hourAt(start time.Time, values ...float64) *mlv1.UsageHour {
	return &mlv1.UsageHour{Start: timestamppb.New(start), Cpu: histogram.Collect(values)}
}

func container(hours ...*mlv1.UsageHour) *mlv1.ContainerUsage {
	return &mlv1.ContainerUsage{Namespace: "n", Kind: "Deployment", Name: "w", Container: "c", Hours: hours}
}

func TestWhatIsWrongWithUsageIsNamed(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	broken := func(change func(*mlv1.UsageHistogram)) []*mlv1.ContainerUsage {
		h := hourAt(noon, 5, 10, 10)
		change(h.Cpu)
		return []*mlv1.ContainerUsage{container(h)}
	}
	for field, usage := range map[string][]*mlv1.ContainerUsage{
		"usage[0].hours[0].start":          {container(hourAt(noon.Add(time.Minute), 1))},
		"usage[0].hours[1].start":          {container(hourAt(noon, 1), hourAt(noon, 1))},
		"usage[0].hours[2].start":          {container(hourAt(noon, 1), hourAt(noon.Add(time.Hour), 1), hourAt(noon.AddDate(30, 0, 0), 1))},
		"usage[1]":                         {container(), container()},
		"usage[0].hours[0].cpu.counts":     broken(func(h *mlv1.UsageHistogram) { h.Counts = h.Counts[:1] }),
		"usage[0].hours[0].cpu.buckets[1]": broken(func(h *mlv1.UsageHistogram) { slices.Reverse(h.Buckets) }),
		"usage[0].hours[0].cpu.samples":    broken(func(h *mlv1.UsageHistogram) { h.Samples++ }),
		"usage[0].hours[0].cpu.max":        broken(func(h *mlv1.UsageHistogram) { h.Max = 100 }),
	} {
		_, err := Read(usage)
		if got := fault.From(err).Details["field"]; err == nil || got != field {
			t.Errorf("the fault is in %v, want %s: %v", got, field, err)
		}
	}
	if _, err := Read([]*mlv1.ContainerUsage{container(hourAt(noon, 5, 10), hourAt(noon.Add(time.Hour)))}); err != nil {
		t.Errorf("sound usage is refused: %v", err)
	}
}

func TestContainersAreSorted(t *testing.T) {
	a, b := container(), container()
	a.Namespace, b.Namespace = "b", "a"
	read, err := Read([]*mlv1.ContainerUsage{a, b})
	if err != nil || read[0].GetNamespace() != "a" {
		t.Errorf("order %v, %v", read, err)
	}
}

// FuzzRead feeds what a caller may send: nothing that is let in breaks the sums.
func FuzzRead(f *testing.F) {
	sound, err := proto.Marshal(container(hourAt(time.Unix(0, 0), 1, 50, 2000)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Fuzz(func(t *testing.T, raw []byte) {
		u := &mlv1.ContainerUsage{}
		if proto.Unmarshal(raw, u) != nil {
			return
		}
		for _, h := range u.GetHours() { // what protovalidate would refuse
			for _, hist := range []*mlv1.UsageHistogram{h.GetCpu(), h.GetMemory()} {
				if math.IsNaN(hist.GetMax()) || math.IsInf(hist.GetMax(), 0) || hist.GetMax() < 0 ||
					slices.ContainsFunc(hist.GetBuckets(), func(b int32) bool { return b < 0 }) ||
					slices.ContainsFunc(hist.GetCounts(), func(c int32) bool { return c <= 0 }) {
					return
				}
			}
		}
		read, err := Read([]*mlv1.ContainerUsage{u})
		if err != nil {
			return
		}
		var all Histogram
		for _, h := range read[0].Hours {
			all.AddHour(h.CPU, 1)
		}
		if q := all.Quantile(0.95); math.IsNaN(q) || q > all.Max || all.Above(all.Max) != 0 {
			t.Fatalf("quantile %g of a histogram with the maximum %g", q, all.Max)
		}
	})
}
