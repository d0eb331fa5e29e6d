package models_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// shelf is a database that a test fills.
type shelf struct {
	mu      sync.Mutex
	inUse   []store.ModelInUse
	content map[string][]byte
	up      []store.SpotInstance
	taken   []string
	gone    []string
	err     error
	reads   int
}

func (s *shelf) ModelsInUse(context.Context) ([]store.ModelInUse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]store.ModelInUse(nil), s.inUse...), s.err
}

func (s *shelf) ModelContent(_ context.Context, version string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return s.content[version], s.err
}

func (s *shelf) SpotInstances(_ context.Context, most int) ([]store.SpotInstance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up[:min(most, len(s.up))], s.err
}

func (s *shelf) Fates(_ context.Context, _ []string, _, _ time.Time) (taken, gone []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, s.gone, s.err
}

// put files in use, by state; a nil file takes the state's away.
func (s *shelf) put(state string, format string, file []byte) string {
	sum := sha256.Sum256(file)
	digits := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	var keep []store.ModelInUse
	for _, row := range s.inUse {
		if row.State != state && row.SHA256 != digits {
			keep = append(keep, row)
		}
	}
	s.inUse = keep
	if file == nil {
		return ""
	}
	if s.content == nil {
		s.content = map[string][]byte{}
	}
	s.content[digits[:16]] = file
	s.inUse = append(s.inUse, store.ModelInUse{Version: digits[:16], Kind: "spot_interruption", Format: format, SHA256: digits, State: state})
	return digits[:16]
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// constant is a file of a model that always answers p.
func constant(t *testing.T, p float64) []byte {
	t.Helper()
	return file(t, forest.Spec{
		Features: []string{"age"}, Objective: forest.Binary, BaseMargin: math.Log(p / (1 - p)),
		Trees: []forest.Tree{{Leaves: []forest.Leaf{{}}}},
	})
}

func file(t *testing.T, spec forest.Spec) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := forest.Write(&out, spec); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// asks is a predictor of a forest alone.
type asks struct{ *forest.Forest }

func (a asks) Predict(_ context.Context, q models.Query) float64 {
	return a.Probability([]float64{q.UptimeMinutes})
}

func build(f *forest.Forest) (models.Predictor, error) { return asks{f}, nil }

func registry(rows models.Rows) *models.Registry {
	return models.NewRegistry(models.RegistryConfig{
		Rows: rows, Published: []string{"age", "price"}, Build: build, Replica: "a", Log: slog.New(slog.DiscardHandler),
	})
}

// follow runs registries in a bubble of time of their own until the test ends.
func follow(t *testing.T, all ...*models.Registry) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, r := range all {
		running.Go(func() { _ = r.Run(ctx) })
	}
	t.Cleanup(func() { stop(); running.Wait() })
	synctest.Wait()
}

// soon is when a replica has followed what was written.
func soon() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func wantLive(t *testing.T, r *models.Registry, version string) {
	t.Helper()
	got := ""
	if live := r.Live(); live != nil {
		got = live.Version
	}
	if got != version {
		t.Errorf("live is %q, want %q", got, version)
	}
}

// modelHealth is what GetHealth says of models.
func modelHealth(t *testing.T, r *models.Registry) (loaded bool, source *mlv1.SourceHealth) {
	t.Helper()
	m, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := models.New(models.Config{Market: m, Registry: r}).GetHealth(t.Context(), &mlv1.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range answer.GetSources() {
		if s.GetName() == "models" {
			source = s
		}
	}
	return answer.GetModelsLoaded(), source
}

func TestAModelGoesLiveIsReplacedAndRetiredAsTheDatabaseSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		r := registry(rows)
		follow(t, r)
		wantLive(t, r, "")
		if loaded, source := modelHealth(t, r); loaded || source.GetError() != "" || source.GetStale() {
			t.Errorf("without models: loaded %v, %v", loaded, source)
		}
		first := rows.put("live", forest.Native, constant(t, 0.1))
		soon()
		wantLive(t, r, first)
		if loaded, source := modelHealth(t, r); !loaded || source.GetError() != "" || source.GetAgeSeconds() > 5 {
			t.Errorf("with a model: loaded %v, %v", loaded, source)
		}
		shadow := rows.put("shadow", forest.Native, constant(t, 0.2))
		soon()
		if r.Shadow() == nil || r.Shadow().Version != shadow {
			t.Errorf("shadow %v", r.Shadow())
		}
		before, reads := r.Shadow(), rows.reads
		rows.put("live", forest.Native, constant(t, 0.2)) // promoted
		soon()
		if r.Live() != before || r.Shadow() != nil || rows.reads != reads {
			t.Error("promoted, the shadow was loaded again")
		}
		rows.put("live", forest.Native, nil)
		soon()
		wantLive(t, r, "")
	})
}

func TestAModelThatCannotBeUsedIsRefusedAndTheOldOneStays(t *testing.T) {
	foreign := forest.Spec{Features: []string{"moon"}, Objective: forest.Binary, Trees: []forest.Tree{{Leaves: []forest.Leaf{{}}}}}
	regression := forest.Spec{Features: []string{"age"}, Objective: forest.Regression, Trees: []forest.Tree{{Leaves: []forest.Leaf{{}}}}}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"a broken file":                      {[]byte(`{"format": "cloudoptim"`), "cut off"},
		"features that are not published":    {file(t, foreign), "1 of its 1 features are not known here: moon"},
		"an objective that is no likelihood": {file(t, regression), "train with a binary objective"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rows := &shelf{}
				good := rows.put("live", forest.Native, constant(t, 0.1))
				r := registry(rows)
				follow(t, r)
				bad := rows.put("live", forest.Native, c.file)
				soon()
				soon()
				wantLive(t, r, good)
				loaded, source := modelHealth(t, r)
				if !loaded || !strings.Contains(source.GetError(), c.want) || !strings.Contains(source.GetError(), bad) {
					t.Errorf("loaded %v, health says %q, want %q of %s", loaded, source.GetError(), c.want, bad)
				}
				if rows.reads != 2 {
					t.Errorf("bytes were read %d times", rows.reads)
				}
				rows.put("live", forest.Native, constant(t, 0.1)) // rolled back
				soon()
				if _, source := modelHealth(t, r); source.GetError() != "" {
					t.Errorf("after the roll back, health says %q", source.GetError())
				}
			})
		})
	}
}

func TestBytesThatWereChangedAreNotLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		version := rows.put("live", forest.Native, constant(t, 0.1))
		rows.content[version] = constant(t, 0.9)
		r := registry(rows)
		follow(t, r)
		wantLive(t, r, "")
		if _, source := modelHealth(t, r); !strings.Contains(source.GetError(), "not those that were uploaded") {
			t.Errorf("health says %q", source.GetError())
		}
	})
}

func TestWithTheDatabaseAwayTheLastModelStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		version := rows.put("live", forest.Native, constant(t, 0.1))
		r := registry(rows)
		follow(t, r)
		rows.fail(errors.New("dial tcp 10.0.0.1: refused"))
		time.Sleep(2 * time.Minute)
		wantLive(t, r, version)
		loaded, source := modelHealth(t, r)
		if !loaded || !source.GetStale() || source.GetError() != "the models in use cannot be read from the database: those before stay" {
			t.Errorf("loaded %v, %v", loaded, source)
		}
		rows.fail(nil)
		next := rows.put("live", forest.Native, constant(t, 0.3))
		soon()
		wantLive(t, r, next)
		if _, source := modelHealth(t, r); source.GetError() != "" || source.GetStale() {
			t.Errorf("health says %v", source)
		}
	})
}

func TestReplicasConverge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		a, b := registry(rows), registry(rows)
		follow(t, a)
		time.Sleep(time.Second) // b polls between a's looks
		follow(t, b)
		for i := range 5 {
			version := rows.put("live", forest.Native, constant(t, 0.1+float64(i)/10))
			soon()
			wantLive(t, a, version)
			wantLive(t, b, version)
		}
	})
}

// TestModelsAreSwappedUnderPredictions is worth most under the race detector.
func TestModelsAreSwappedUnderPredictions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		rows.put("live", forest.Native, constant(t, 0.25))
		rows.put("shadow", forest.Native, constant(t, 0.75))
		r := registry(rows)
		follow(t, r)
		var stop atomic.Bool
		var asking sync.WaitGroup
		var asked atomic.Int64
		for range 4 {
			asking.Go(func() {
				for !stop.Load() {
					live := r.Live()
					if live == nil {
						t.Error("for a moment no model was live")
						return
					}
					p := live.Predictor.Predict(t.Context(), models.Query{UptimeMinutes: 5})
					if math.Abs(p-0.25) > 1e-9 && math.Abs(p-0.75) > 1e-9 {
						t.Errorf("half a model said %v", p)
					}
					r.Observe(models.Query{}, p)
					r.Figures()
					asked.Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 50 {
			live, shadow := constant(t, 0.25), constant(t, 0.75)
			if i%2 == 0 {
				live, shadow = shadow, live
			}
			rows.put("live", forest.Native, live)
			rows.put("shadow", forest.Native, shadow)
			time.Sleep(2100 * time.Millisecond)
		}
		stop.Store(true)
		asking.Wait()
		if asked.Load() < 10_000 {
			t.Errorf("only %d predictions", asked.Load())
		}
	})
}

func TestTheShadowIsComparedWithTheLiveModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		live := rows.put("live", forest.Native, constant(t, 0.08))
		r := registry(rows)
		follow(t, r)
		r.Observe(models.Query{}, 0.08)
		if got := r.Figures(); len(got) != 1 || got[0].GetPredictions() != 1 || got[0].GetRole() != "live" {
			t.Errorf("figures %v", got)
		}
		shadow := rows.put("shadow", forest.Native, constant(t, 0.3))
		soon()
		for range 10 {
			r.Observe(models.Query{}, 0.08)
		}
		r.Observe(models.Query{}, math.NaN())
		synctest.Wait()
		figures := r.Figures()
		if len(figures) != 2 {
			t.Fatalf("figures %v", figures)
		}
		l, s := figures[0], figures[1]
		if l.GetModelVersion() != live || l.GetPredictions() != 10 || s.GetModelVersion() != shadow || s.GetPredictions() != 10 || s.GetReplica() != "a" {
			t.Errorf("figures %v", figures)
		}
		if math.Abs(s.GetMeanAbsoluteDifference()-0.22) > 1e-9 || math.Abs(s.GetMeanProbability()-0.3) > 1e-9 {
			t.Errorf("difference %v, mean %v", s.GetMeanAbsoluteDifference(), s.GetMeanProbability())
		}
		for _, d := range s.GetDisagreements() {
			want := 0.0
			if d.GetThreshold() == 0.1 || d.GetThreshold() == 0.25 {
				want = 1
			}
			if d.GetShare() != want {
				t.Errorf("at %v: %v, want %v", d.GetThreshold(), d.GetShare(), want)
			}
		}
	})
}

func TestPredictionsMadeByBothModelsAreComparedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		live := rows.put("live", forest.Native, constant(t, 0.1))
		shadow := rows.put("shadow", forest.Native, constant(t, 0.2))
		r := registry(rows)
		r.Compare(live, 0.1, shadow, 0.2) // none is loaded yet
		follow(t, r)
		r.Compare(live, 0.1, shadow, 0.2)
		r.Compare(live, 0.1, "", 0)
		r.Compare(live, 0.1, shadow, math.NaN())
		r.Compare(live, math.NaN(), shadow, 0.2)
		r.Compare(shadow, 0.2, live, 0.1) // swapped meanwhile
		got := r.Figures()
		if got[0].GetPredictions() != 3 || got[1].GetPredictions() != 1 || math.Abs(got[1].GetMeanAbsoluteDifference()-0.1) > 1e-12 {
			t.Errorf("figures %v", got)
		}
	})
}

// stuck predicts when it is let.
type stuck struct{ let chan struct{} }

func (s stuck) Predict(context.Context, models.Query) float64 { <-s.let; return 0.5 }

func TestAShadowThatIsSlowHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		rows.put("live", forest.Native, constant(t, 0.1))
		rows.put("shadow", forest.Native, constant(t, 0.2))
		let := make(chan struct{})
		r := models.NewRegistry(models.RegistryConfig{
			Rows: rows, Published: []string{"age"}, Log: slog.New(slog.DiscardHandler),
			Build: func(*forest.Forest) (models.Predictor, error) { return stuck{let}, nil },
		})
		follow(t, r)
		for range 3000 {
			r.Observe(models.Query{}, 0.1)
		}
		synctest.Wait()
		shadow := r.Figures()[1]
		if r.Figures()[0].GetPredictions() != 3000 || shadow.GetSkipped() < 1900 || shadow.GetPredictions() != 0 {
			t.Errorf("figures %v", r.Figures())
		}
		close(let)
		synctest.Wait()
		if shadow = r.Figures()[1]; shadow.GetPredictions()+shadow.GetSkipped() != 3000 {
			t.Errorf("figures %v", shadow)
		}
	})
}

func TestBothModelsAreScoredByWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &shelf{}
		for i := range 10 {
			rows.up = append(rows.up, store.SpotInstance{ID: fmt.Sprintf("i-%d", i), Type: "m5.large", Region: "us-east-1", Zone: "us-east-1a", Since: time.Now()})
		}
		rows.taken, rows.gone = []string{"i-0", "i-1"}, []string{"i-9"}
		rows.put("live", forest.Native, constant(t, 0.1))
		rows.put("shadow", forest.Native, constant(t, 0.4))
		r := registry(rows)
		follow(t, r)
		time.Sleep(10*time.Minute + time.Second) // foretold once
		rows.mu.Lock()
		rows.up = nil
		rows.mu.Unlock()
		if n := r.Figures()[0].GetOutcomes(); n != 0 {
			t.Errorf("%d outcomes are known at once", n)
		}
		time.Sleep(50 * time.Minute)
		if n := r.Figures()[0].GetOutcomes(); n != 0 {
			t.Errorf("%d outcomes are known before the horizon", n)
		}
		time.Sleep(20 * time.Minute)
		for i, p := range []float64{0.1, 0.4} {
			got := r.Figures()[i]
			brier := (2*(1-p)*(1-p) + 7*p*p) / 9
			loss := (-2*math.Log(p) - 7*math.Log(1-p)) / 9
			if got.GetOutcomes() != 9 || got.GetInterruptions() != 2 || math.Abs(got.GetBrier()-brier) > 1e-9 || math.Abs(got.GetLogLoss()-loss) > 1e-9 {
				t.Errorf("%v, want 9 outcomes, 2 interruptions, brier %v, log loss %v", got, brier, loss)
			}
		}
	})
}
