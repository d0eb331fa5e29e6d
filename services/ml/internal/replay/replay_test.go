package replay

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

const hour = 3600

// made is a scenario of hourly ticks whose zones gave so much at so constant a price.
func made(need int, prices []float64, up ...[]int) *Scenario {
	s := &Scenario{Name: "made", Seconds: hour, Need: need}
	for i, ups := range up {
		offer := market.Offer{
			Type: catalogue.Type{Name: "m5.2xlarge", VCPU: 8, MemoryMiB: 32 << 10}, Zone: "us-east-1" + string(rune('a'+i)),
			Spot: prices[i], OnDemand: 3, Bucket: catalogue.Unknown,
		}
		s.Pools = append(s.Pools, Pool{Offer: offer, Region: "us-east-1", Up: ups, Price: slices.Repeat([]float64{prices[i]}, len(ups))})
	}
	return s
}

func TestAReplayCountsWhatANodePaidServedAndLost(t *testing.T) {
	// Up for five hours, gone for three, up again; a boot takes an hour.
	s := made(1, []float64{1}, []int{1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1})
	got := Replay(s, LowestPrice(), time.Hour)
	want := Count{
		// Spot hours 0-4 and 8-10; on demand from 5, which a spot node replaces at 9.
		USD: 8*1 + 4*3, SpotHours: 8, OnDemandHours: 4,
		// Hour 0 is the first boot and not counted; the hour 5 is the replacement's.
		Hours: 10, ServedHours: 9, ShortHours: 1, EnoughHours: 9,
		Interruptions: 1, Launches: 5, Refused: 3,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	least, err := Clairvoyant(s, time.Hour)
	// On demand from hour 4, so as to be ready at 5; spot again from 8.
	if err != nil || least != 8*1+5*3 {
		t.Errorf("the clairvoyant pays %v (%v), want 23", least, err)
	}
}

func TestPoliciesTakeWhatTheirNamesSay(t *testing.T) {
	v := &View{Pools: []Seen{{Now: 3, UpShare: 0.9}, {Now: 1, UpShare: 0.2}, {Now: 2, UpShare: 0.8}, {Now: 1.5, UpShare: 0.5}}}
	for _, c := range []struct {
		policy Policy
		want   int
	}{{LowestPrice(), 1}, {CapacityOptimized(), 0}, {PriceCapacityOptimized(), 2}} {
		if got := c.policy.Choose(v, 2); !slices.Equal(got, []int{c.want, c.want}) {
			t.Errorf("%s takes %v, want %d twice", c.policy.Name(), got, c.want)
		}
	}
	if got := OnDemandOnly().Choose(v, 2); got != nil {
		t.Errorf("on demand takes %v", got)
	}
}

func TestTheEngineSpreadsAndLearnsFromLosses(t *testing.T) {
	e := Engine{Called: "ours", Prior: shop.Advisor{}, MaxPoolShare: 0.5, RestartCost: 1}
	v := &View{}
	for _, p := range made(4, []float64{1, 1.01, 1.02}, []int{1}, []int{1}, []int{1}).Pools {
		v.Pools = append(v.Pools, Seen{Offer: p.Offer, Region: p.Region, Now: p.Offer.Spot, NodeHours: 100})
	}
	picks := e.Choose(v, 4)
	count := map[int]int{}
	for _, i := range picks {
		count[i]++
	}
	if len(picks) != 4 || slices.Max([]int{count[0], count[1], count[2]}) > 2 {
		t.Errorf("picks %v, want 4 and at most 2 of a pool", picks)
	}
	v.Pools[0].Losses = 50
	if picks := e.Choose(v, 1); !slices.Equal(picks, []int{1}) {
		t.Errorf("picks %v after half of the cheapest pool's hours ended in a loss, want the next", picks)
	}
	e.Blind = true
	if picks := e.Choose(v, 1); !slices.Equal(picks, []int{0}) {
		t.Errorf("without the history it picks %v, want the cheapest", picks)
	}
	v.Pools[0].Closed = true
	if picks := e.Choose(v, 1); !slices.Equal(picks, []int{1}) {
		t.Errorf("picks %v with the cheapest pool closed", picks)
	}
}

func drawScenario(t *rapid.T) *Scenario {
	pools, ticks := rapid.IntRange(1, 3).Draw(t, "pools"), rapid.IntRange(4, 9).Draw(t, "ticks")
	var prices []float64
	var ups [][]int
	for range pools {
		prices = append(prices, float64(rapid.IntRange(1, 8).Draw(t, "price"))/4)
		ups = append(ups, rapid.SliceOfN(rapid.IntRange(0, 2), ticks, ticks).Draw(t, "up"))
	}
	s := made(rapid.IntRange(1, 3).Draw(t, "need"), prices, ups...)
	for i := range s.Pools {
		for k := range s.Pools[i].Price {
			s.Pools[i].Price[k] *= rapid.SampledFrom([]float64{1, 1, 1, 1.5, 3}).Draw(t, "change")
		}
	}
	return s
}

// exhaustive tries every assignment of nodes to pools at every tick.
func exhaustive(s *Scenario, boot int) float64 {
	pools := append(slices.Clone(s.Pools), s.always())
	var all [][]int
	var fill func(left int, counts []int)
	fill = func(left int, counts []int) {
		if len(counts) == len(pools)-1 {
			all = append(all, append(slices.Clone(counts), left))
			return
		}
		for n := 0; n <= left; n++ {
			fill(left-n, append(slices.Clone(counts), n))
		}
	}
	fill(s.Need, nil)
	best := map[int]float64{-1: 0} // by assignment; before the first tick none
	for t := boot; t < s.Ticks(); t++ {
		next := map[int]float64{}
		for from, sum := range best {
			for to, counts := range all {
				step, ok := sum, true
				for i, p := range pools {
					held := 0
					if from >= 0 {
						held = min(all[from][i], counts[i])
					}
					fresh := counts[i] - held
					ok = ok && counts[i] <= p.Up[t]
					for k := t - boot; k < t; k++ {
						ok = ok && (fresh == 0 || fresh <= p.Up[k])
						step += float64(fresh) * p.Price[k]
					}
					ok = ok && (fresh == 0 || fresh <= p.Up[t])
					step += float64(counts[i]) * p.Price[t]
				}
				if old, known := next[to]; ok && (!known || step < old) {
					next[to] = step
				}
			}
		}
		best = next
	}
	least := math.Inf(1)
	for _, sum := range best {
		least = min(least, sum)
	}
	return least
}

func TestTheClairvoyantIsTheBestOfAllCourses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		boot := rapid.IntRange(1, 2).Draw(rt, "boot")
		got, err := Clairvoyant(s, time.Duration(boot)*time.Hour)
		if err != nil {
			rt.Fatal(err)
		}
		if want := exhaustive(s, boot); math.Abs(got-want) > 1e-3 {
			rt.Fatalf("the clairvoyant pays %v, the best of all courses costs %v", got, want)
		}
	})
}

// recorder writes down what a policy picks.
type recorder struct {
	Policy
	picks [][]int
}

func (r *recorder) Choose(v *View, n int) []int {
	picks := r.Policy.Choose(v, n)
	r.picks = append(r.picks, picks)
	return picks
}

func TestNobodyPaysLessThanTheClairvoyantForAsMuch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		least, err := Clairvoyant(s, time.Hour)
		if err != nil {
			rt.Fatal(err)
		}
		for _, p := range contenders(settings{maxPoolShare: 0.5, restartCost: 1}) {
			c := Replay(s, p, time.Hour)
			if c.ShortHours == 0 && c.USD < least-1e-3 {
				rt.Fatalf("%s pays %v, the clairvoyant %v", p.Name(), c.USD, least)
			}
			if total := c.ServedHours + c.ShortHours; math.Abs(total-float64(s.Need)*c.Hours) > 1e-9 {
				rt.Fatalf("%s: %v node hours served or short of %v", p.Name(), total, float64(s.Need)*c.Hours)
			}
		}
	})
}

func TestNoPolicySeesTheFuture(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		short := *s
		short.Pools = slices.Clone(s.Pools)
		cut := rapid.IntRange(2, s.Ticks()-1).Draw(rt, "cut")
		for i := range short.Pools {
			short.Pools[i].Up, short.Pools[i].Price = s.Pools[i].Up[:cut], s.Pools[i].Price[:cut]
		}
		for i, p := range contenders(settings{maxPoolShare: 0.5, restartCost: 1}) {
			whole, part := &recorder{Policy: p}, &recorder{Policy: contenders(settings{maxPoolShare: 0.5, restartCost: 1})[i]}
			Replay(s, whole, time.Hour)
			Replay(&short, part, time.Hour)
			for k, picks := range part.picks {
				if !slices.Equal(picks, whole.picks[k]) {
					rt.Fatalf("%s picks %v where it picked %v without the future", p.Name(), whole.picks[k], picks)
				}
			}
		}
	})
}

func TestTracesThatMakeNoSenseAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "parsing", `{"metadata":{"gap_seconds":0},"data":[1]}`: "gap_seconds", `{"metadata":{"gap_seconds":60},"data":[]}`: "ticks",
		`{"metadata":{"gap_seconds":60},"data":[1,-1]}`:                "instances",
		`{"metadata":{"gap_seconds":60},"data":[1,1],"prices":[1]}`:    "prices for",
		`{"metadata":{"gap_seconds":60},"data":[1,1],"prices":[1,-1]}`: "price",
	} {
		if _, err := parseTrace([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %s", text, err, want)
		}
	}
}

func FuzzTraces(f *testing.F) {
	f.Add([]byte(`{"metadata":{"gap_seconds":195},"data":[0,1,1],"prices":[0.9,1,1.1]}`))
	f.Add([]byte(`{"metadata":{"gap_seconds":1e300},"data":[9999999999]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		trace, err := parseTrace(raw)
		if err != nil {
			return
		}
		if len(trace.Up) == 0 || trace.Seconds < 1 || len(trace.Prices) > 0 && len(trace.Prices) != len(trace.Up) {
			t.Errorf("accepted %+v", trace)
		}
	})
}

func FuzzPrices(f *testing.F) {
	f.Add("instance_type,az,timestamp,price\np3.2xlarge,us-east-1a,2019-12-22T21:33:11Z,0.94\n")
	f.Add("a,b,c\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHistory(strings.NewReader(text))
		if err != nil {
			return
		}
		for pool := range h {
			for _, price := range h.series(pool, h.since([]string{pool}), 5, 60) {
				if !(price > 0 && price < 1000) {
					t.Errorf("%s costs %v", pool, price)
				}
			}
		}
	})
}

func TestPricesAreThoseOfTheirMoment(t *testing.T) {
	h, err := parseHistory(strings.NewReader("instance_type,az,timestamp,price\n" +
		"p3.2xlarge,us-east-1a,2020-01-01T02:00:00Z,2\np3.2xlarge,us-east-1a,2020-01-01T00:00:00Z,1\np3.2xlarge,us-east-1b,2020-01-01T01:00:00Z,5\n"))
	if err != nil {
		t.Fatal(err)
	}
	from := h.since([]string{"p3.2xlarge/us-east-1a", "p3.2xlarge/us-east-1b", "p3.2xlarge/us-east-1z"})
	if got := h.series("p3.2xlarge/us-east-1a", from, 3, 1800); !slices.Equal(got, []float64{1, 1, 1}) {
		t.Errorf("from %v: %v, want the first hour over and over", from, got)
	}
	if got := h.series("p3.2xlarge/us-east-1z", from, 3, 1800); got != nil {
		t.Errorf("an unknown pool costs %v", got)
	}
}

// dataDir is where real data lies, "" if it is missing.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLOUDOPTIM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(filepath.Join(dir, "spot-traces")); err != nil {
		t.Log("the recorded traces are missing: ", err)
		return ""
	}
	return dir
}

// The recorded traces are read, and on the smallest set the report holds together.
func TestRecordedTracesAreReplayed(t *testing.T) {
	dir := dataDir(t)
	if dir == "" {
		return
	}
	traces, err := readTraces(filepath.Join(dir, "spot-traces"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := readHistory(filepath.Join(dir, "spot-price-history", "ec2-gpu-p2p3-2020-per-az-events.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	sets, left := scenarios(traces, h, known.Snapshot())
	if len(sets) != 5 || len(left) == 0 {
		t.Fatalf("%d sets, left out %v", len(sets), left)
	}
	for _, s := range sets {
		s.cut(1200)
	}
	r, err := play(sets, settings{boot: 3 * time.Minute, restartCost: 1, maxPoolShare: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range r.Sets {
		for _, o := range set.Policies {
			if o.CostOverClairvoyant < 0.99 || o.Availability <= 0 || o.Availability > 1 {
				t.Errorf("%s: %+v", set.Name, o)
			}
		}
		if set.Policies[0].Interruptions != 0 || set.Policies[0].Availability != 1 || set.Policies[0].CostOverOnDemand != 1 {
			t.Errorf("on demand alone: %+v", set.Policies[0])
		}
	}
}

// cut the scenario short.
func (s *Scenario) cut(ticks int) {
	for i := range s.Pools {
		s.Pools[i].Up, s.Pools[i].Price = s.Pools[i].Up[:ticks], s.Pools[i].Price[:ticks]
	}
}

func TestTheCommandPrintsAReport(t *testing.T) {
	dir := t.TempDir()
	for _, zone := range []string{"us-east-1a", "us-east-1b", "us-east-1c"} {
		trace, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"gap_seconds": 300}, "data": slices.Repeat([]int{1, 1, 1, 0}, 50), "prices": slices.Repeat([]float64{1}, 200),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, zone+"_intel_64.json"), trace, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := &bytes.Buffer{}
	if err := Command(t.Context(), []string{"-traces", dir}, out); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Sets) != 1 || r.Sets[0].Need != 2 || len(r.Mean) != len(contenders(settings{})) {
		t.Errorf("report %+v", r)
	}
	for _, args := range [][]string{{}, {"-traces", t.TempDir()}, {"-traces", dir, "-boot", "0s"}, {"-traces", dir, "-max-pool-share", "2"}} {
		if err := Command(t.Context(), args, out); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
