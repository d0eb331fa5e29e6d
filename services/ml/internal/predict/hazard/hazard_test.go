package hazard

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// simulated lives with a hazard per hour that depends on age and type, of which owners end
// many at random.
func simulated(n int, seed uint64, censored float64, rate func(kind string, ageHours float64) float64) []history.Life {
	rng := rand.New(rand.NewPCG(seed, 2))
	var lives []history.Life
	for i := range n {
		kind, zone := "m5.large", "us-east-1a"
		if i%2 == 1 {
			kind, zone = "c5.large", "us-east-1b"
		}
		born := start.Add(time.Duration(rng.Int64N(int64(60 * 24 * time.Hour))))
		owner := math.Inf(1)
		if censored > 0 {
			owner = rng.ExpFloat64() / censored
		}
		age := 0.0
		const step = 1.0 / 60
		interrupted := false
		for age < owner && age < 24*5 {
			if rng.Float64() < 1-math.Exp(-rate(kind, age)*step) {
				interrupted = true
				break
			}
			age += step
		}
		end := age
		if !interrupted {
			end = min(owner, 24*5)
		}
		lives = append(lives, history.Life{
			Pool: history.Pool{Type: kind, Region: "us-east-1", Zone: zone}, Start: born,
			End: born.Add(time.Duration(end * float64(time.Hour))), Interrupted: interrupted,
		})
	}
	return lives
}

func dataOf(t *testing.T, lives []history.Life) *history.Data {
	t.Helper()
	data, err := history.FromLives(lives, start.Add(70*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func rates(kind string, age float64) float64 {
	base := 0.10
	if kind == "c5.large" {
		base = 0.02
	}
	if age < 1 {
		return 4 * base
	}
	return base
}

// Of what is seen of each lead the hazard must come out, however many lives their
// owners end early.
func TestCensoringDoesNotBiasHazards(t *testing.T) {
	for name, censored := range map[string]float64{"none": 0, "some": 0.1, "most": 1} {
		t.Run(name, func(t *testing.T) {
			constant := func(string, float64) float64 { return 0.2 }
			data := dataOf(t, simulated(4000, 1, censored, constant))
			var trials, lost float64
			for _, l := range data.Lives {
				o := lived(l, l.Start, data.Series[0].End())
				for b := range Buckets {
					trials, lost = trials+float64(o.Trials[b]), lost+float64(o.Lost[b])
				}
			}
			want := 1 - math.Exp(-0.2*StepMinutes/60)
			if got := lost / trials; math.Abs(got-want) > 0.06*want {
				t.Errorf("hazard of a step %.4f, want %.4f", got, want)
			}
		})
	}
}

func TestKnownOutcomesAreWeighedForTheCensored(t *testing.T) {
	constant := func(string, float64) float64 { return 0.3 }
	for _, censored := range []float64{0, 0.5, 1} {
		data := dataOf(t, simulated(6000, 2, censored, constant))
		var all []Example
		for _, l := range data.Lives {
			all = append(all, Example{At: l.Start, Outcome: lived(l, l.Start, data.Series[0].End())})
		}
		lost, weight, naive := 0.0, 0.0, 0.0
		known := Known(all, 60, time.Time{})
		for _, k := range known {
			lost, weight, naive = lost+k.Weight*k.Lost, weight+k.Weight, naive+k.Lost
		}
		want := 1 - math.Exp(-0.3)
		if got := lost / weight; math.Abs(got-want) > 0.02 {
			t.Errorf("censored at %v: %.3f lost within the hour, want %.3f", censored, got, want)
		}
		if naive /= float64(len(known)); censored == 1 && naive < want+0.05 {
			t.Errorf("unweighed %.3f is as good: the test shows nothing", naive)
		}
	}
}

// By hand: 4 units at 10-minute ticks; 1 lost after 20 minutes, one back, 3 lost after 50.
func TestOutcomesOfAPoolByHand(t *testing.T) {
	s := &history.Series{Start: start, Step: 10 * time.Minute, Probed: true, Up: []int16{4, 4, 3, 4, 4, 1, 1, 1}, Lost: make([]int16, 8)}
	o := probed(s, 0, start.Add(24*time.Hour))
	if o.lostBy(15) != 0 || o.lostBy(30) != 0.25 || o.lostBy(60) != 0.75 || o.Gone || o.Seen != 70 {
		t.Errorf("outcome %+v", o)
	}
	// Steps: 1; then 1, with the loss; then ¾; then ¾, with the loss; then ¼ for 10 minutes.
	want := [5]float64{1, 1, 0.75, 0.75, 0.25 * 10 / 15}
	for b, w := range want {
		if math.Abs(float64(o.Trials[b])-w) > 1e-6 {
			t.Errorf("trials of bucket %d are %v, want %v", b, o.Trials[b], w)
		}
	}
	cut := probed(s, 0, start.Add(35*time.Minute)) // nothing later may be known
	if cut.lostBy(60) != 0.25 || cut.Seen != 35 {
		t.Errorf("cut at 35 minutes: %+v", cut)
	}
}

func trainedOn(t *testing.T, lives []history.Life, seed uint64) *Trained {
	t.Helper()
	data := dataOf(t, lives)
	out, err := Train(data, feature.NewExtractor(data.Series, nil, nil), Config{
		Seed: seed, Robust: true, Trees: 15, Candidates: []Candidate{{Leaves: 8, Rate: 0.2, MinShare: 0.02, Linear: true}, {Leaves: 4, Rate: 0.2, MinShare: 0.02}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAModelFindsTheHazardOfAgeAndType(t *testing.T) {
	lives := simulated(1200, 3, 0.05, rates)
	data := dataOf(t, lives)
	out, err := Train(data, feature.NewExtractor(data.Series, nil, nil), Config{Seed: 1, Trees: 60, Candidates: []Candidate{{Leaves: 8, Rate: 0.1, MinShare: 0.02, Linear: true}}})
	if err != nil {
		t.Fatal(err)
	}
	x := feature.NewExtractor(data.Series, nil, nil)
	middle := start.Add(40 * 24 * time.Hour)
	for i, s := range data.Series {
		tick, _ := s.Tick(middle)
		for _, age := range []float64{0, 10} {
			row := x.Row(i, tick, age*60)
			for _, minutes := range []float64{15, 60, 360} {
				total, step := 0.0, 1.0/60
				for h := 0.0; h < minutes/60; h += step {
					total += rates(s.Type, age+h) * step
				}
				want := 1 - math.Exp(-total)
				if got := out.Model.Probability(&row, minutes); got < want*0.6-0.01 || got > want*1.6+0.01 {
					t.Errorf("%s at %v h within %v min: %.3f, want about %.3f", s.Type, age, minutes, got, want)
				}
			}
		}
	}
}

func TestAModelFileSaysTheSameAndIsTheSameEachTime(t *testing.T) {
	lives := simulated(300, 4, 0.1, rates)
	a, b := trainedOn(t, lives, 7), trainedOn(t, lives, 7)
	var first, second bytes.Buffer
	if err := forest.Write(&first, a.Spec); err != nil {
		t.Fatal(err)
	}
	if err := forest.Write(&second, b.Spec); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two trainings write different files")
	}
	loaded, _, err := forest.Load(forest.Native, first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(loaded)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		row := anyRow(rng)
		minutes := math.Exp(rng.Float64() * 10)
		p, q := a.Model.Probability(&row, minutes), m.Probability(&row, minutes)
		if p != q {
			t.Fatalf("in memory %v, from the file %v", p, q)
		}
	}
	for _, note := range []string{NoteSchema, NoteFrom, NoteTo, NoteRows, NoteImportance} {
		if loaded.Notes()[note] == "" {
			t.Errorf("the file has no %s", note)
		}
	}
}

// anyRow is within the schema's ranges, with holes.
func anyRow(rng *rand.Rand) feature.Row {
	row := feature.NewRow()
	for i, f := range feature.Schema {
		if rng.IntN(4) > 0 {
			row[i] = f.Min + rng.Float64()*(f.Max-f.Min)*math.Pow(rng.Float64(), 3)
		}
	}
	return row
}

func TestProbabilitiesRiseWithTimeAndKnownRisks(t *testing.T) {
	m := trainedOn(t, simulated(300, 5, 0.1, rates), 1).Model
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		row := anyRow(rng)
		last := 0.0
		for minutes := 1.0; minutes < 43200; minutes *= 1.3 {
			p := m.Probability(&row, minutes)
			if !(p >= last-1e-12 && p <= 1) {
				t.Fatalf("within %v min %v, before %v", minutes, p, last)
			}
			last = p
		}
		for i, f := range feature.Schema {
			if f.Monotone == 0 || math.IsNaN(row[i]) {
				continue
			}
			more := row
			more[i] = min(f.Max, row[i]+rng.Float64()*(f.Max-row[i]))
			if a, b := m.Raw(&row, 60), m.Raw(&more, 60); float64(f.Monotone)*(b-a) < -1e-9 {
				t.Fatalf("%s from %v to %v moves %v to %v", f.Name, row[i], more[i], a, b)
			}
		}
	}
}

func TestContributionsAddUp(t *testing.T) {
	out := trainedOn(t, simulated(300, 6, 0.1, rates), 1)
	f, err := forest.New(out.Spec)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		row := anyRow(rng)
		row[feature.LeadMinutes] = 0
		bias, all := out.Model.Explain(&row)
		sum := bias
		for _, c := range all {
			sum += c.LogOdds
		}
		into := make([]float64, feature.Count)
		f.Contributions(row[:], into)
		sum += into[feature.LeadMinutes] // not told: it is the question's, not the instance's
		if margin := f.Margin(row[:]); math.Abs(sum-margin) > 1e-9 {
			t.Fatalf("contributions add up to %v, the margin is %v", sum, margin)
		}
		if !slices.IsSortedFunc(all, func(a, b Contribution) int {
			return int(math.Copysign(1, math.Abs(b.LogOdds)-math.Abs(a.LogOdds)))
		}) {
			t.Fatal("not sorted")
		}
	}
}

func TestLittleKnownIsSaid(t *testing.T) {
	m := trainedOn(t, simulated(300, 6, 0.1, rates), 1).Model
	rng := rand.New(rand.NewPCG(3, 3))
	full := anyRow(rng)
	for i := range full {
		full[i] = feature.Schema[i].Min
	}
	empty := Masked(full, feature.Asked)
	if a, b := m.Known(&full), m.Known(&empty); a != 1 || b > 0.8 {
		t.Errorf("known %v of all, %v of nothing", a, b)
	}
}

func TestOtherModelsAreCheckedAgainstTheSchema(t *testing.T) {
	leaf := []forest.Tree{{Leaves: []forest.Leaf{{Value: -3}}}}
	curve := `{"method":"isotonic","x":[1,0],"y":[0,1]}`
	for name, c := range map[string]struct {
		spec forest.Spec
		want string
	}{
		"of hazards":          {forest.Spec{Features: []string{"uptime_minutes"}}, ""},
		"an unknown feature":  {forest.Spec{Features: []string{"age_hours"}}, "age_hours"},
		"another schema":      {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{NoteSchema: "x/9"}}, "schema"},
		"another kind":        {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{NoteKind: "sales"}}, "kind"},
		"steps of an hour":    {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{NoteStep: "60"}}, "steps"},
		"a falling curve":     {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{"calibration.60": curve}}, "rise"},
		"a broken curve":      {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{"calibration.60": "{"}}, "parsing"},
		"too few importances": {forest.Spec{Features: []string{"vcpus"}, Notes: map[string]string{NoteImportance: "0.5,0.5"}}, "importances"},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Objective, c.spec.Trees = forest.Binary, leaf
			f, err := forest.New(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			m, err := New(f)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				row := feature.NewRow()
				if got, want := m.Probability(&row, 60), 1-math.Pow(1-1/(1+math.Exp(3)), 4); math.Abs(got-want) > 1e-12 || m.Calibrated() {
					t.Errorf("four steps of e⁻³: %v, want %v", got, want)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestCalibrationIsExactAtItsHorizon(t *testing.T) {
	f, err := forest.New(forest.Spec{
		Features: []string{"vcpus"}, Objective: forest.Binary, Trees: []forest.Tree{{Leaves: []forest.Leaf{{Value: -3}}}},
		Notes: map[string]string{"calibration.60": `{"method":"platt","slope":1,"intercept":1}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	row := feature.NewRow()
	line := calibrate.Map{Method: calibrate.Platt, Slope: 1, Intercept: 1}
	if got, want := m.Probability(&row, 60), line.Apply(m.Raw(&row, 60)); math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v, want %v", got, want)
	}
	if a, b := m.Probability(&row, 15), m.Raw(&row, 15); math.Abs(a-b) > 1e-12 {
		t.Errorf("the first quarter of an hour is not calibrated: %v and %v", a, b)
	}
}

func TestNothingToLearnFromIsAnError(t *testing.T) {
	lives := simulated(50, 1, 1, func(string, float64) float64 { return 0 })
	data := dataOf(t, lives)
	if _, err := Train(data, feature.NewExtractor(data.Series, nil, nil), Config{}); err == nil {
		t.Error("a model of no interruptions")
	}
}
