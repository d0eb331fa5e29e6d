package risk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// oracle is an ml that says what say says.
type oracle struct {
	mu    sync.Mutex
	asked []*mlv1.PredictSpotInterruptionRequest
	say   func(*mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error)
}

// PredictSpotInterruption answers.
func (o *oracle) PredictSpotInterruption(_ context.Context, req *mlv1.PredictSpotInterruptionRequest, _ ...grpc.CallOption) (*mlv1.PredictSpotInterruptionResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, req)
	return o.say(req)
}

func always(p float64, source string) func(*mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
	return func(*mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
		return &mlv1.PredictSpotInterruptionResponse{Probability: p, Source: source, ModelVersion: "0123456789abcdef"}, nil
	}
}

type world struct {
	*Watch
	oracle            *oracle
	db                *pgtest.DB
	customer, cluster uuid.UUID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{db: pgtest.New(t), oracle: &oracle{say: always(0.25, "model")}}
	s := store.New(w.db.Pool)
	w.Watch = New(s, w.oracle, slog.New(slog.DiscardHandler))
	key := func(secret, scope string) store.NewKey {
		sum := sha256.Sum256([]byte(secret))
		return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
	}
	var err error
	w.customer, err = s.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	made, err := s.CreateCluster(t.Context(), w.customer, &adminv1.CreateClusterRequest{ClusterName: "acme", Region: "us-east-1"}, key("2", "agent"))
	must(t, err)
	w.cluster = uuid.MustParse(made.GetClusterId())
	return w
}

// nodes puts spot nodes in force, and one on demand.
func (w *world) nodes(t *testing.T, names ...string) {
	t.Helper()
	all := store.Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{{NodeName: "od", InstanceId: "i-od", InstanceType: "m5.large", NodeType: "on-demand"}}}
	for _, name := range names {
		all.Nodes = append(all.Nodes, &fleetv1.NodeMetric{
			NodeName: name, InstanceId: "i-" + name, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", Ready: true,
		})
	}
	must(t, w.store.PutReport(t.Context(), w.cluster, all))
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

func (w *world) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	must(t, w.db.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func TestEachSpotNodeIsAskedAboutOnceAnHour(t *testing.T) {
	w := newWorld(t)
	w.nodes(t, "a", "b")
	w.exec(t, "UPDATE nodes SET created_at = now() - interval '90 minutes', hourly_price = 0.03 WHERE node_name = 'a'")
	for range 3 {
		must(t, w.Ask(t.Context()))
	}
	equal(t, "questions", len(w.oracle.asked), 2)
	for _, req := range w.oracle.asked {
		if req.GetHorizonMinutes() != 1440 || req.GetRegion() != "us-east-1" || req.GetAvailabilityZone() != "us-east-1a" || req.GetInstanceType() != "m5.large" {
			t.Errorf("asked %v", req)
		}
		if old := req.GetUptimeMinutes() > 1; old && (math.Abs(req.GetUptimeMinutes()-90) > 1 || req.GetPrice() != 0.03) || !old && req.Price != nil {
			t.Errorf("asked %v", req)
		}
	}
	equal(t, "risks", w.count(t, "SELECT count(*) FROM nodes WHERE interruption_risk = 0.25 AND risk_model = '0123456789abcdef'"), 2)
	equal(t, "kept", w.count(t, "SELECT count(*) FROM spot_predictions WHERE probability = 0.25 AND outcome = ''"), 2)

	// Half an hour into the next round the same hour may not be over: the first word counts.
	w.exec(t, "UPDATE nodes SET risk_at = now() - interval '61 minutes'")
	w.oracle.say = always(0.5, "empirical_bayes")
	must(t, w.Ask(t.Context()))
	equal(t, "questions", len(w.oracle.asked), 4)
	equal(t, "risks", w.count(t, "SELECT count(*) FROM nodes WHERE interruption_risk = 0.5 AND risk_model = 'fleet_record'"), 2)
	equal(t, "kept of this hour", w.count(t, "SELECT count(*) FROM spot_predictions WHERE probability = 0.25"), 2)
}

func TestWhatMLDoesNotKnowIsUnsetAndNotAskedEachRound(t *testing.T) {
	w := newWorld(t)
	w.nodes(t, "a", "b", "c")
	for _, say := range []func(*mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error){
		func(*mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
			return nil, fault.Invalid("instance_type", "must be one")
		},
		always(1.5, "model"), always(math.NaN(), "model"),
	} {
		before := len(w.oracle.asked)
		w.exec(t, "UPDATE nodes SET risk_at = NULL, interruption_risk = NULL")
		w.oracle.say = say
		must(t, w.Ask(t.Context()))
		must(t, w.Ask(t.Context()))
		equal(t, "questions", len(w.oracle.asked)-before, 3)
		equal(t, "risks", w.count(t, "SELECT count(*) FROM nodes WHERE interruption_risk IS NOT NULL"), 0)
		equal(t, "kept", w.count(t, "SELECT count(*) FROM spot_predictions"), 0)
	}
}

func TestAnMLThatGoesAwayHalfwayLosesNoAnswer(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("n%02d", i))
	}
	w.nodes(t, names...)
	said := 0
	w.oracle.say = func(req *mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
		if said++; said > 10 {
			return nil, fault.Unavailable("ml", errors.New("gone"))
		}
		return always(0.1, "model")(req)
	}
	err := w.Ask(t.Context())
	if fault.ReasonOf(err) != faultv1.Reason_REASON_UNAVAILABLE {
		t.Fatalf("got %v", err)
	}
	equal(t, "kept", w.count(t, "SELECT count(*) FROM spot_predictions"), 10)
	w.oracle.say = always(0.2, "model")
	asked := len(w.oracle.asked)
	must(t, w.Ask(t.Context()))
	equal(t, "the rest", len(w.oracle.asked)-asked, 30)
	equal(t, "kept", w.count(t, "SELECT count(*) FROM spot_predictions"), 40)
}

func TestANodeThatIsWarnedIsNotAskedAbout(t *testing.T) {
	w := newWorld(t)
	w.nodes(t, "a", "b")
	w.exec(t, "INSERT INTO interruptions (cluster_id, instance_id, state, urgency) VALUES ($1, 'i-a', 'draining', 3), ($1, 'i-b', 'at_risk', 0)", w.cluster)
	must(t, w.Ask(t.Context()))
	equal(t, "questions", len(w.oracle.asked), 1)
	equal(t, "of the other", w.count(t, "SELECT count(*) FROM spot_predictions WHERE instance_id = 'i-b'"), 1)
}

func TestOneReplicaMakesEachRound(t *testing.T) {
	w := newWorld(t)
	w.nodes(t, "a")
	must(t, w.round(t.Context()))
	w.exec(t, "UPDATE nodes SET risk_at = NULL, interruption_risk = NULL")
	must(t, w.round(t.Context()))
	equal(t, "questions", len(w.oracle.asked), 1)
	w.exec(t, "UPDATE turns SET next_at = now() WHERE name = 'risk'")
	must(t, w.round(t.Context()))
	equal(t, "questions", len(w.oracle.asked), 2)
}

// predicted writes a prediction of so many hours ago.
func (w *world) predicted(t *testing.T, instance string, hoursAgo float64, probability float64) {
	t.Helper()
	w.exec(t, `INSERT INTO spot_predictions (cluster_id, instance_id, hour, node_name, at, probability, model)
		SELECT $1, $2, date_trunc('hour', v.at, 'UTC'), 'n', v.at, $4, 'm' FROM (SELECT now() - make_interval(mins => ($3::float8 * 60)::int) AS at) v`,
		w.cluster, instance, hoursAgo, probability)
}

func (w *world) warned(t *testing.T, instance string, hoursAgo float64, kind string) {
	t.Helper()
	w.exec(t, `INSERT INTO spot_events (cluster_id, instance_id, event_type, received_at)
		VALUES ($1, $2, $4, now() - make_interval(mins => ($3::float8 * 60)::int))`, w.cluster, instance, hoursAgo, kind)
}

func TestAPredictionIsJudgedWhenItsDayIsOver(t *testing.T) {
	w := newWorld(t)
	w.nodes(t, "lives", "gone", "late", "warned", "before", "after", "young", "advised")
	for _, name := range []string{"lives", "gone", "late", "warned", "before", "after", "advised", "unknown"} {
		w.predicted(t, "i-"+name, 30, 0.3)
	}
	w.predicted(t, "i-young", 23, 0.3)
	w.predicted(t, "i-lives", 31, 0.3)
	w.exec(t, "UPDATE nodes SET status = 'Terminated', terminated_at = now() - interval '20 hours' WHERE node_name IN ('gone', 'warned')")
	w.exec(t, "UPDATE nodes SET status = 'Terminated', terminated_at = now() - interval '5 hours' WHERE node_name = 'late'") // its day ended an hour before
	w.warned(t, "i-warned", 21, "interruption_warning")
	w.warned(t, "i-before", 30.5, "interruption_warning")
	w.warned(t, "i-after", 5.5, "interruption_warning")
	w.warned(t, "i-advised", 20, "rebalance_recommendation")
	w.warned(t, "i-young", 20, "interruption_warning")
	for range 2 {
		n, err := w.store.JudgePredictions(t.Context())
		must(t, err)
		if n != 9 && n != 0 {
			t.Errorf("%d judged", n)
		}
	}
	want := map[string]string{
		"i-lives": "survived", "i-gone": "censored", "i-late": "survived", "i-warned": "interrupted", "i-before": "survived", "i-after": "survived",
		"i-young": "", "i-advised": "survived", "i-unknown": "censored",
	}
	for instance, outcome := range want {
		equal(t, instance, w.count(t, "SELECT count(*) FROM spot_predictions WHERE instance_id = $1 AND outcome <> $2", instance, outcome), 0)
	}
	judged, err := w.store.JudgedBins(t.Context(), uuid.NullUUID{}, uuid.NullUUID{UUID: w.customer, Valid: true}, 30)
	must(t, err)
	got := Reliability(judged)
	equal(t, "predictions", got.GetPredictions(), 7) // without the two that are censored and the young one
	equal(t, "interruptions", got.GetInterruptions(), 1)
	foreign, err := w.store.JudgedBins(t.Context(), uuid.NullUUID{}, uuid.NullUUID{UUID: uuid.New(), Valid: true}, 30)
	must(t, err)
	equal(t, "of another customer", len(foreign), 0)
	recent, err := w.store.JudgedBins(t.Context(), uuid.NullUUID{UUID: w.cluster, Valid: true}, uuid.NullUUID{}, 1)
	must(t, err)
	equal(t, "of the last day", len(recent), 0)
}

func TestReliabilityAddsUpAsByHand(t *testing.T) {
	w := newWorld(t)
	for i, p := range []struct {
		probability float64
		outcome     string
	}{
		{0.1, "survived"}, {0.15, "interrupted"}, {0.95, "interrupted"}, {1, "interrupted"}, {0, "survived"}, {0.5, "censored"},
	} {
		w.predicted(t, fmt.Sprint("i-", i), 48, p.probability)
		w.exec(t, "UPDATE spot_predictions SET outcome = $2 WHERE instance_id = $1", fmt.Sprint("i-", i), p.outcome)
	}
	judged, err := w.store.JudgedBins(t.Context(), uuid.NullUUID{}, uuid.NullUUID{}, 30)
	must(t, err)
	got := Reliability(judged)
	equal(t, "bins", len(got.GetBins()), 10)
	equal(t, "predictions", got.GetPredictions(), 5)
	equal(t, "interruptions", got.GetInterruptions(), 3)
	// (0.1² + 0.85² + 0.05² + 0² + 0²) ÷ 5
	near(t, "brier", got.GetBrier(), (0.01+0.7225+0.0025)/5)
	// Bin 0: one of 0, none taken. Bin 1: two of mean 0.125, half taken. Bin 9: two of mean 0.975, all taken.
	near(t, "calibration error", got.GetExpectedCalibrationError(), (1*0+2*0.375+2*0.025)/5)
	second, last := got.GetBins()[1], got.GetBins()[9]
	near(t, "predicted", second.GetPredicted(), 0.125)
	near(t, "observed", second.GetObserved(), 0.5)
	near(t, "lower", second.GetLower(), 0.1)
	near(t, "upper", last.GetUpper(), 1)
	equal(t, "count", last.GetCount(), 2)
	equal(t, "an empty bin", got.GetBins()[5].GetCount(), 0)
}

func TestWithoutPredictionsNothingIsClaimed(t *testing.T) {
	got := Reliability(nil)
	if len(got.GetBins()) != 10 || got.GetBrier() != 0 || got.GetExpectedCalibrationError() != 0 || got.GetPredictions() != 0 {
		t.Errorf("got %v", got)
	}
}

func TestOldPredictionsAreDropped(t *testing.T) {
	w := newWorld(t)
	w.predicted(t, "i-old", 24*401, 0.1)
	w.predicted(t, "i-kept", 24*399, 0.1)
	must(t, w.store.PrunePredictions(t.Context()))
	equal(t, "old", w.count(t, "SELECT count(*) FROM spot_predictions WHERE instance_id = 'i-old'"), 0)
	equal(t, "kept", w.count(t, "SELECT count(*) FROM spot_predictions"), 1)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
