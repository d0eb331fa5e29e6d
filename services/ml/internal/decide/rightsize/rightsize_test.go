package rightsize

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

var testNow = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC) // a Monday

// embedded is loaded once: it takes longer than a decision.
var embedded = sync.OnceValues(market.New)

func testMarket(t *testing.T) *market.Snapshot {
	t.Helper()
	m, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	return m.Snapshot()
}

// recorded is a container with days of usage up to testNow: millicores and MiB by the hour.
func recorded(days int, at func(hour int) (cpu, memory float64)) *mlv1.ContainerUsage {
	u := &mlv1.ContainerUsage{
		Namespace: "shop", Kind: "Deployment", Name: "web", Container: "app", Replicas: 3,
		Requests: &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 4 * gib},
		Limits:   &fleetv1.Resources{MemoryBytes: 4 * gib},
	}
	for h := range days * 24 {
		start := testNow.Add(time.Duration(h-days*24) * time.Hour)
		cpu, memory := at(h)
		u.Hours = append(u.Hours, &mlv1.UsageHour{
			Start: timestamppb.New(start), Cpu: histogram.Collect(slices.Repeat([]float64{cpu}, 12)), Memory: histogram.Collect(slices.Repeat([]float64{memory}, 12)),
		})
	}
	return u
}

func flat(cpu, memory float64) func(int) (float64, float64) {
	return func(int) (float64, float64) { return cpu, memory }
}

func ask(t *testing.T, requirements, constraints map[string]any, all ...*mlv1.ContainerUsage) (*mlv1.DecisionResponse, error) {
	t.Helper()
	r, err := structpb.NewStruct(requirements)
	if err != nil {
		t.Fatal(err)
	}
	c, err := structpb.NewStruct(constraints)
	if err != nil {
		t.Fatal(err)
	}
	return Decide(&mlv1.DecisionRequest{
		RequestId: "r", CurrentState: &fleetv1.ClusterState{Region: "us-east-1"}, Requirements: r, Constraints: c, Usage: all,
	}, testMarket(t), testNow)
}

func askOne(t *testing.T, requirements, constraints map[string]any, u *mlv1.ContainerUsage) *mlv1.RequestChange {
	t.Helper()
	a, err := ask(t, requirements, constraints, u)
	if err != nil {
		t.Fatal(err)
	}
	return a.RequestChanges[0]
}

func TestRequestsFollowUse(t *testing.T) {
	twoWeeks := func(cpu, memory float64, change func(*mlv1.ContainerUsage)) *mlv1.ContainerUsage {
		u := recorded(14, flat(cpu, memory))
		if change != nil {
			change(u)
		}
		return u
	}
	for name, c := range map[string]struct {
		usage                     *mlv1.ContainerUsage
		requirements, constraints map[string]any
		cpuReason, memoryReason   string
		cpu                       [2]int64 // bounds of what CPU becomes
		memoryMiB                 [2]int64
	}{
		"far too large goes down by one step only": {twoWeeks(100, 500, nil), nil, nil, "oversized", "oversized", [2]int64{1400, 1400}, [2]int64{2868, 2868}},
		"as far as it may where steps are off": {
			twoWeeks(100, 500, nil), nil, map[string]any{"max_decrease": 1}, "oversized", "oversized", [2]int64{110, 116}, [2]int64{575, 604},
		},
		"too small goes up at once": {twoWeeks(4000, 9000, nil), nil, nil, "undersized", "undersized", [2]int64{4400, 4620}, [2]int64{10350, 10868}},
		"what fits is kept":         {twoWeeks(1750, 3500, nil), nil, nil, "within_threshold", "within_threshold", [2]int64{2000, 2000}, [2]int64{4096, 4096}},
		"an explicit quantile and margin": {
			twoWeeks(100, 500, nil),
			map[string]any{"cpu_quantile": 0.5, "cpu_margin": 1, "memory_quantile": 1, "memory_margin": 0},
			map[string]any{"max_decrease": 1},
			"oversized", "oversized",
			[2]int64{200, 210},
			[2]int64{500, 525},
		},
		"the safe policy": {
			twoWeeks(100, 500, nil),
			map[string]any{"policy": "safe"},
			map[string]any{"max_decrease": 1},
			"oversized", "oversized",
			[2]int64{115, 121},
			[2]int64{625, 657},
		},
		"its autoscaler's metric is left alone": {
			twoWeeks(100, 500, func(u *mlv1.ContainerUsage) { u.AutoscaledOnCpu = true }), nil,
			map[string]any{"max_decrease": 1},
			"autoscaled", "oversized",
			[2]int64{2000, 2000},
			[2]int64{575, 604},
		},
		"another namespace is left alone": {
			twoWeeks(100, 500, nil), nil,
			map[string]any{"excluded_namespaces": []any{"sh*"}},
			"namespace_excluded", "namespace_excluded",
			[2]int64{2000, 2000},
			[2]int64{4096, 4096},
		},
		"bounds hold": {
			twoWeeks(100, 9000, nil), nil,
			map[string]any{"max_decrease": 1, "min_cpu": 0.5, "max_memory": 6},
			"oversized", "undersized",
			[2]int64{500, 500},
			[2]int64{6144, 6144},
		},
		"a bound that is broken is mended": {
			twoWeeks(1750, 3500, nil), nil,
			map[string]any{"min_cpu": 3, "max_memory": 3.5},
			"below_minimum", "above_maximum",
			[2]int64{3000, 3000},
			[2]int64{3584, 3584},
		},
		"two days are too few to take anything": {recorded(2, flat(100, 500)), nil, nil, "little_data", "less_than_a_week", [2]int64{2000, 2000}, [2]int64{4096, 4096}},
		"five are enough for CPU only":          {recorded(5, flat(100, 500)), nil, nil, "oversized", "less_than_a_week", [2]int64{1400, 1400}, [2]int64{4096, 4096}},
		"two are enough to give":                {recorded(2, flat(4000, 9000)), nil, nil, "undersized", "undersized", [2]int64{4400, 4620}, [2]int64{10350, 10868}},
		"no usage at all":                       {recorded(0, nil), nil, nil, "no_usage", "no_usage", [2]int64{2000, 2000}, [2]int64{4096, 4096}},
		"no request yet": {
			twoWeeks(100, 500, func(u *mlv1.ContainerUsage) { u.Requests = nil }), nil, nil, "no_request", "no_request", [2]int64{110, 116}, [2]int64{575, 604},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := askOne(t, c.requirements, c.constraints, c.usage)
			if got.Cpu.Reason != c.cpuReason || got.Cpu.To < c.cpu[0] || got.Cpu.To > c.cpu[1] {
				t.Errorf("CPU %v, want %s within %v", got.Cpu, c.cpuReason, c.cpu)
			}
			if mib := (got.Memory.To + mib - 1) / mib; got.Memory.Reason != c.memoryReason || mib < c.memoryMiB[0] || mib > c.memoryMiB[1] {
				t.Errorf("memory %v = %d MiB, want %s within %v", got.Memory, mib, c.memoryReason, c.memoryMiB)
			}
			for _, r := range []*mlv1.ResourceChange{got.Cpu, got.Memory} {
				if kept := r.To == r.From; kept != (r.Verdict == "keep") {
					t.Errorf("verdict %s of %d to %d", r.Verdict, r.From, r.To)
				}
			}
			if saves := got.Cpu.To < got.Cpu.From && got.Memory.To <= got.Memory.From; saves && got.SavingsPerMonth <= 0 {
				t.Error("smaller requests save nothing")
			}
		})
	}
}

func TestMemoryThatKilledIsNotForgotten(t *testing.T) {
	u := recorded(28, flat(100, 500))
	u.OomKills = []*mlv1.OutOfMemoryKill{{Time: timestamppb.New(testNow.AddDate(0, 0, -25)), MemoryBytes: 4 * gib}}
	got := askOne(t, nil, nil, u)
	if want := int64(4 * gib * 6 / 5); got.Memory.To < want || got.Memory.To > want+1 || got.Memory.Reason != "oom_kills" || got.Memory.Limit < want {
		t.Errorf("after a kill at 4 GiB: %v", got.Memory)
	}
	u.OomKills[0].MemoryBytes = 200 * mib // a fifth of it is less than 100 MiB
	u.Requests.MemoryBytes = 250 * mib
	u.Hours = nil
	if got := askOne(t, nil, nil, u); got.Memory.To != 300*mib {
		t.Errorf("after a kill at 200 MiB without usage: %v", got.Memory)
	}
}

func TestHeapsThatNeverFallAreCoveredWhole(t *testing.T) {
	heap := recorded(14, func(h int) (float64, float64) { return 100, 1000 + 3000*min(1, float64(h)/100) })
	sawtooth := recorded(14, func(h int) (float64, float64) { return 100, 1000 + 3000*float64(h%100)/100 })
	noted := func(c *mlv1.RequestChange) bool { return slices.Contains(c.Notes, "memory_never_falls") }
	requirements := map[string]any{"memory_quantile": 0.5}
	if got := askOne(t, requirements, nil, heap); !noted(got) || got.Memory.Target < 4000*mib {
		t.Errorf("a heap that rose to 4000 MiB and stayed: %v %v", got.Notes, got.Memory)
	}
	if got := askOne(t, requirements, nil, sawtooth); noted(got) {
		t.Error("memory that falls is said never to")
	}
}

func TestPeaksThatComeAgainAreCovered(t *testing.T) {
	batch := func(h int) (float64, float64) { // one hour a week is 0.6 % of all
		if h%168 == 50 {
			return 1800, 500
		}
		return 100, 500
	}
	once := func(h int) (float64, float64) {
		if h == 50 {
			return 1800, 500
		}
		return 100, 500
	}
	monthEnd := func(h int) (float64, float64) {
		if at := testNow.Add(time.Duration(h-70*24) * time.Hour); at.AddDate(0, 0, 1).Day() == 1 && at.Hour() < 8 {
			return 1800, 500
		}
		return 100, 500
	}
	for name, c := range map[string]struct {
		usage   *mlv1.ContainerUsage
		covered bool
	}{"weekly": {recorded(28, batch), true}, "once": {recorded(28, once), false}, "at the month's end": {recorded(70, monthEnd), true}} {
		got := askOne(t, nil, nil, c.usage)
		if covered := got.Cpu.Target >= 1800; covered != c.covered || slices.Contains(got.Notes, "recurring_peak") != c.covered {
			t.Errorf("%s: target %d, notes %v", name, got.Cpu.Target, got.Notes)
		}
		if cost := askOne(t, map[string]any{"policy": "cost"}, nil, c.usage); cost.Cpu.Target > 200 {
			t.Errorf("%s: the cost policy asks for %d", name, cost.Cpu.Target)
		}
	}
}

func TestSmallWorkloadsNeedALargerChange(t *testing.T) {
	change := func(request int64, replicas int32) string {
		u := recorded(14, flat(float64(request)*0.7, 500))
		u.Requests.CpuMillicores, u.Replicas = request, replicas
		return askOne(t, nil, nil, u).Cpu.Verdict
	}
	if change(100, 1) != "keep" || change(100, 1000) != "change" || change(8000, 1) != "change" {
		t.Errorf("a fifth less: one of 100m %s, a thousand %s, one of 8 vCPU %s", change(100, 1), change(100, 1000), change(8000, 1))
	}
}

func TestOneDayOfMoreCountsTheDayAfter(t *testing.T) {
	u := recorded(28, func(h int) (float64, float64) {
		if h >= 27*24 {
			return 3000, 6000
		}
		return 100, 500
	})
	if got := askOne(t, nil, nil, u); got.Cpu.To < 3300 || got.Memory.To < 6900*mib {
		t.Errorf("after a day at 3000m and 6000 MiB: %v, %v", got.Cpu, got.Memory)
	}
}

func TestFewDaysWidenTheQuantile(t *testing.T) {
	if a, b, c := widened(0.95, 24), widened(0.95, 24*7), widened(0.95, 24*28); a < b || b < c || c < 0.95 || a > 1 || widened(1, 24) != 1 {
		t.Errorf("0.95 after 1, 7 and 28 days: %g, %g, %g", a, b, c)
	}
}

func TestWilsonAgainstPublishedValues(t *testing.T) {
	// Newcombe 1998, Statistics in Medicine 17, table I, method 3.
	for _, c := range []struct {
		count, n  int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		low, high := wilson(float64(c.count)/float64(c.n), c.n)
		if diff := max(low-c.low, c.low-low, high-c.high, c.high-high); diff > 6e-5 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", c.count, c.n, low, high, c.low, c.high)
		}
	}
}

func TestRequestsThatCannotBeReadAreNamed(t *testing.T) {
	u := recorded(14, flat(100, 500))
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		usage                     []*mlv1.ContainerUsage
		field                     string
	}{
		"no usage":             {nil, nil, nil, "usage"},
		"an unknown policy":    {map[string]any{"policy": "bold"}, nil, []*mlv1.ContainerUsage{u}, "requirements.policy"},
		"an unknown key":       {map[string]any{"percentile": 0.9}, nil, []*mlv1.ContainerUsage{u}, "requirements.percentile"},
		"a quantile above one": {map[string]any{"cpu_quantile": 95}, nil, []*mlv1.ContainerUsage{u}, "requirements.cpu_quantile"},
		"a number as text":     {map[string]any{"cpu_margin": "0.1"}, nil, []*mlv1.ContainerUsage{u}, "requirements.cpu_margin"},
		"bounds that cross":    {nil, map[string]any{"min_cpu": 2, "max_cpu": 1}, []*mlv1.ContainerUsage{u}, "constraints.max_cpu"},
		"a broken pattern":     {nil, map[string]any{"namespaces": []any{"a["}}, []*mlv1.ContainerUsage{u}, "constraints.namespaces[0]"},
		"instances of nothing": {map[string]any{"instances": true}, nil, []*mlv1.ContainerUsage{u}, "current_state.nodes"},
	} {
		_, err := ask(t, c.requirements, c.constraints, c.usage...)
		if got := fault.From(err).Details["field"]; err == nil || got != c.field {
			t.Errorf("%s: the fault is in %v, want %s: %v", name, got, c.field, err)
		}
	}
}

// random usage of a seed: any shape, with gaps, kills and autoscalers.
func random(rng *rand.Rand) *mlv1.ContainerUsage {
	level, swing, noise := 10+2000*rng.Float64(), rng.Float64(), rng.Float64()
	u := recorded(rng.IntN(30), func(h int) (float64, float64) {
		v := level * (1 + swing*float64(h%24)/24) * (1 + noise*rng.ExpFloat64())
		return v, v * 2
	})
	u.Hours = slices.DeleteFunc(u.Hours, func(*mlv1.UsageHour) bool { return rng.IntN(10) == 0 })
	u.Replicas, u.AutoscaledOnCpu = int32(rng.IntN(20)), rng.IntN(5) == 0
	u.Requests.CpuMillicores, u.Requests.MemoryBytes = rng.Int64N(4000), rng.Int64N(8*gib)
	if rng.IntN(4) == 0 {
		u.OomKills = []*mlv1.OutOfMemoryKill{{Time: timestamppb.New(testNow), MemoryBytes: 1 + rng.Int64N(4*gib)}}
	}
	return u
}

func TestPropertiesOfEveryAnswer(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range 100 {
		u := random(rng)
		first := askOne(t, nil, nil, u)
		if again := askOne(t, nil, nil, u); !proto.Equal(first, again) {
			t.Fatalf("case %d: two answers to one question: %v and %v", i, first, again)
		}
		for _, r := range []*mlv1.ResourceChange{first.Cpu, first.Memory} {
			if r.To < r.From && float64(r.To) < 0.7*float64(r.From)-1 {
				t.Errorf("case %d: %d to %d is more than a step", i, r.From, r.To)
			}
			if r.Risk != nil && (r.Risk.Low > r.Risk.Share || r.Risk.High < r.Risk.Share || r.Risk.Low < 0 || r.Risk.High > 1) {
				t.Errorf("case %d: risk %v", i, r.Risk)
			}
			if r.Reason == "" {
				t.Errorf("case %d: no reason", i)
			}
			if r.Limit > 0 && r.Limit < r.To && r.Verdict == "change" {
				t.Errorf("case %d: limit %d below request %d", i, r.Limit, r.To)
			}
		}
		// Carried out often enough, nothing is left to do.
		for range 40 {
			u.Requests.CpuMillicores, u.Requests.MemoryBytes = first.Cpu.To, first.Memory.To
			first = askOne(t, nil, nil, u)
		}
		if first.Verdict != "keep" {
			t.Errorf("case %d: still %v, %v after forty rounds", i, first.Cpu, first.Memory)
		}
	}
}
