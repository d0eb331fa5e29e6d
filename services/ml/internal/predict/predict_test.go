package predict_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/advisor"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

type fakeRecords struct {
	lives []history.Life
	err   error
	reads int
}

func (f *fakeRecords) SpotRuns(context.Context, time.Time, time.Time) ([]history.Life, error) {
	f.reads++
	return slices.Clone(f.lives), f.err
}

type fakeModels struct{ live, shadow *hazard.Model }

func (f fakeModels) Live() (*hazard.Model, string)   { return f.live, "v1" }
func (f fakeModels) Shadow() (*hazard.Model, string) { return f.shadow, "v2" }

func server(t *testing.T, cfg predict.Config) *predict.Server {
	t.Helper()
	m, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Market, cfg.Log = m, slog.New(slog.DiscardHandler)
	s, err := predict.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *predict.Server, req *mlv1.PredictSpotInterruptionRequest) *mlv1.PredictSpotInterruptionResponse {
	t.Helper()
	if err := protovalidate.Validate(req); err != nil {
		t.Fatalf("the request is not valid: %v", err)
	}
	answer, err := s.PredictSpotInterruption(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if p, c := answer.Probability, answer.Confidence; !(p >= 0 && p <= 1) || !(c > 0 && c <= 1) || answer.ModelVersion == "" || answer.HorizonMinutes <= 0 {
		t.Fatalf("answer %v", answer)
	}
	if i := answer.Interval; i != nil && !(i.Low >= 0 && i.Low <= answer.Probability && answer.Probability <= i.High && i.High <= 1) {
		t.Fatalf("probability %v is not within %v", answer.Probability, i)
	}
	return answer
}

func m5(change ...func(*mlv1.PredictSpotInterruptionRequest)) *mlv1.PredictSpotInterruptionRequest {
	req := &mlv1.PredictSpotInterruptionRequest{InstanceType: "m5.large", Region: "us-east-1"}
	for _, c := range change {
		c(req)
	}
	return req
}

func in(zone string) func(*mlv1.PredictSpotInterruptionRequest) {
	return func(r *mlv1.PredictSpotInterruptionRequest) { r.AvailabilityZone = zone }
}

func within(minutes float64) func(*mlv1.PredictSpotInterruptionRequest) {
	return func(r *mlv1.PredictSpotInterruptionRequest) { r.HorizonMinutes = minutes }
}

func TestTheDocumentedCallIsAnsweredFromTheAdvisor(t *testing.T) {
	s := server(t, predict.Config{})
	answer := ask(t, s, m5())
	m, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	bucket := m.Snapshot().Bucket("us-east-1", "m5.large")
	if want := 1 - math.Exp(-advisor.HourlyRate(bucket)); answer.Source != "advisor_prior" || answer.HorizonMinutes != 60 || math.Abs(answer.Probability-want) > 1e-12 {
		t.Errorf("answer %v, want %v within an hour by the advisor's bucket %d", answer, want, bucket)
	}
	if !slices.Contains(answer.Notes, "advisor_stale") || !slices.Contains(answer.Notes, "uptime_unknown") || answer.Interval == nil || len(answer.Contributions) == 0 {
		t.Errorf("answer %v", answer)
	}
	// The advisor counts a month: over 30 days its own midpoint must come out.
	if month := ask(t, s, m5(within(43200))); math.Abs(month.Probability-[]float64{0.025, 0.075, 0.125, 0.175, 0.25}[bucket]) > 1e-9 {
		t.Errorf("within 30 days %v for bucket %d", month.Probability, bucket)
	}
}

func TestWhatIsNotKnownIsAGuessAndSaysSo(t *testing.T) {
	s := server(t, predict.Config{})
	known := ask(t, s, m5())
	for name, c := range map[string]struct {
		req  *mlv1.PredictSpotInterruptionRequest
		note string
	}{
		"a type":   {&mlv1.PredictSpotInterruptionRequest{InstanceType: "m99.large", Region: "us-east-1"}, "unknown_instance_type"},
		"a region": {&mlv1.PredictSpotInterruptionRequest{InstanceType: "m5.large", Region: "xx-nowhere-9"}, "unknown_region"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := ask(t, s, c.req)
			if !slices.Contains(answer.Notes, c.note) || !slices.Contains(answer.Notes, "no_advisor_bucket") || answer.Confidence > 0.1 || answer.Confidence >= known.Confidence {
				t.Errorf("answer %v", answer)
			}
			if answer.Probability <= 0 {
				t.Error("nothing is known, and no risk")
			}
		})
	}
}

func TestBadRequestsNameTheField(t *testing.T) {
	minute := 1.0
	negative := -1.0
	for name, req := range map[string]*mlv1.PredictSpotInterruptionRequest{
		"instance_type":    {Region: "us-east-1"},
		"instance_type ":   {InstanceType: "m5large", Region: "us-east-1"},
		"region":           {InstanceType: "m5.large"},
		"region ":          {InstanceType: "m5.large", Region: "Virginia"},
		"horizon_minutes":  m5(within(0.5)),
		"horizon_minutes ": m5(within(43201)),
		"uptime_minutes":   m5(func(r *mlv1.PredictSpotInterruptionRequest) { r.UptimeMinutes = &negative }),
		"price":            m5(func(r *mlv1.PredictSpotInterruptionRequest) { r.Price = &negative }),
		"activity[0].hours": m5(func(r *mlv1.PredictSpotInterruptionRequest) {
			r.Activity = []*mlv1.PoolActivity{{Hours: 2}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if protovalidate.Validate(req) == nil {
				t.Errorf("%v is valid", req)
			}
		})
	}
	s := server(t, predict.Config{})
	for field, req := range map[string]*mlv1.PredictSpotInterruptionRequest{
		"availability_zone": m5(in("eu-west-1a")),
		"activity.hours": m5(func(r *mlv1.PredictSpotInterruptionRequest) {
			r.Activity = []*mlv1.PoolActivity{{Hours: 1}, {Hours: 1}}
		}),
		"activity.launch_failures": m5(func(r *mlv1.PredictSpotInterruptionRequest) {
			r.UptimeMinutes = &minute
			r.Activity = []*mlv1.PoolActivity{{Hours: 1, LaunchAttempts: 1, LaunchFailures: 2}}
		}),
	} {
		t.Run(field, func(t *testing.T) {
			_, err := s.PredictSpotInterruption(t.Context(), req)
			if f := fault.From(err); err == nil || f.Reason != faultv1.Reason_REASON_INVALID_REQUEST || f.Details["field"] != field {
				t.Errorf("error %v", err)
			}
		})
	}
}

// fleetOf runs n instances for days, of which some were lost.
func fleetOf(kind, zone string, n, lost int, days float64) []history.Life {
	now := time.Now()
	var lives []history.Life
	for i := range n {
		l := history.Life{
			Pool:  history.Pool{Type: kind, Region: "us-east-1", Zone: zone},
			Start: now.Add(-time.Duration(days * 24 * float64(time.Hour))), End: now.Add(-time.Duration(i+1) * time.Minute),
		}
		l.Interrupted = i < lost
		lives = append(lives, l)
	}
	return lives
}

func TestTheFleetsOwnRecordMovesTheRate(t *testing.T) {
	prior := ask(t, server(t, predict.Config{}), m5(in("us-east-1a")))
	calm := ask(t, server(t, predict.Config{Records: &fakeRecords{lives: fleetOf("m5.large", "us-east-1a", 200, 0, 20)}}), m5(in("us-east-1a")))
	rough := ask(t, server(t, predict.Config{Records: &fakeRecords{lives: fleetOf("m5.large", "us-east-1a", 200, 150, 20)}}), m5(in("us-east-1a")))
	if !(calm.Probability < prior.Probability && prior.Probability < rough.Probability) {
		t.Errorf("without losses %v, prior %v, with many %v", calm.Probability, prior.Probability, rough.Probability)
	}
	if rough.Source != "empirical_bayes" || rough.Confidence <= prior.Confidence || rough.Interval.High-rough.Interval.Low > rough.Probability {
		t.Errorf("answer %v", rough)
	}
	// 150 lost in 200·20 days: the rate must be near to that.
	if want := 1 - math.Exp(-150.0/(200*20*24)); math.Abs(rough.Probability-want) > 0.15*want {
		t.Errorf("probability %v, want about %v", rough.Probability, want)
	}
	// A sister pool is drawn part of the way.
	sister := ask(t, server(t, predict.Config{Records: &fakeRecords{lives: fleetOf("m5.xlarge", "us-east-1b", 200, 150, 20)}}), m5(in("us-east-1a")))
	if !(sister.Probability > prior.Probability && sister.Probability <= rough.Probability*1.05) || sister.Confidence >= rough.Confidence {
		t.Errorf("sister %v, own %v", sister, rough)
	}
}

func TestWhatTheCallerSawCounts(t *testing.T) {
	s := server(t, predict.Config{})
	prior := ask(t, s, m5(in("us-east-1a")))
	told := ask(t, s, m5(in("us-east-1a"), func(r *mlv1.PredictSpotInterruptionRequest) {
		r.Activity = []*mlv1.PoolActivity{{Hours: 24, Interruptions: 12, InstanceHours: 480}}
	}))
	if told.Source != "empirical_bayes" || told.Probability < 5*prior.Probability || told.Confidence <= prior.Confidence {
		t.Errorf("told of 12 losses in 480 hours: %v, before %v", told, prior)
	}
}

func TestADatabaseThatDoesNotAnswerIsSaidAndDoesNotStop(t *testing.T) {
	records := &fakeRecords{err: errors.New("dial tcp 10.0.0.1: refused")}
	s := server(t, predict.Config{Records: records})
	for range 3 {
		if answer := ask(t, s, m5()); answer.Source != "advisor_prior" || !slices.Contains(answer.Notes, "database_unavailable") {
			t.Errorf("answer %v", answer)
		}
	}
	if records.reads != 1 {
		t.Errorf("%d reads in a moment: a database that is away is asked again later", records.reads)
	}
}

// constant is a model whose every step has the given log-odds, and that knows the features named.
func constant(t *testing.T, logOdds float64, notes map[string]string, features ...string) *hazard.Model {
	t.Helper()
	f, err := forest.New(forest.Spec{
		Features: features, Objective: forest.Binary, Notes: notes,
		Trees: []forest.Tree{{
			Nodes:  []forest.Node{{Feature: 0, Op: forest.LessEqual, Threshold: 60, DefaultLeft: true, Left: -1, Right: -2}},
			Leaves: []forest.Leaf{{Value: logOdds, Cover: 1}, {Value: logOdds - 1, Cover: 3}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := hazard.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var fitted = map[string]string{"calibration.60": `{"method":"platt","slope":1,"intercept":0}`}

func TestALiveModelAnswersAndIsExplained(t *testing.T) {
	up := 10.0
	models := fakeModels{live: constant(t, -3, fitted, "uptime_minutes"), shadow: constant(t, -2, nil, "uptime_minutes")}
	answer := ask(t, server(t, predict.Config{Models: models}), m5(func(r *mlv1.PredictSpotInterruptionRequest) { r.UptimeMinutes = &up }))
	want := 1 - math.Pow(1-1/(1+math.Exp(3)), 4)
	if answer.Source != "model" || answer.ModelVersion != "v1" || math.Abs(answer.Probability-want) > 1e-9 || answer.Interval != nil {
		t.Errorf("answer %v, want %v", answer, want)
	}
	if len(answer.Contributions) != 1 || answer.Contributions[0].Feature != "uptime_minutes" || answer.Contributions[0].GetValue() != 10 || math.Abs(answer.Contributions[0].LogOdds-0.75) > 1e-9 {
		t.Errorf("contributions %v, want 0.75 of uptime_minutes: −3 less the mean of −3 and three times −4", answer.Contributions)
	}
	if answer.Shadow.GetModelVersion() != "v2" || !(answer.Shadow.GetProbability() > answer.Probability) {
		t.Errorf("shadow %v", answer.Shadow)
	}
}

func TestAModelThatLacksWhatItGoesByStandsBack(t *testing.T) {
	models := fakeModels{live: constant(t, -1, fitted, "down_share_1h", "down_share_6h", "down_share_24h", "sisters_down_now")}
	answer := ask(t, server(t, predict.Config{Models: models}), m5())
	if answer.Source == "model" || !slices.Contains(answer.Notes, "features_missing") {
		t.Errorf("answer %v: nothing of what the model goes by is known here", answer)
	}
}

func TestAModelThatIsNotCalibratedIsTrustedLess(t *testing.T) {
	up := 10.0
	with := func(notes map[string]string, minutes float64) *mlv1.PredictSpotInterruptionResponse {
		return ask(t, server(t, predict.Config{Models: fakeModels{live: constant(t, -3, notes, "uptime_minutes")}}),
			m5(within(minutes), func(r *mlv1.PredictSpotInterruptionRequest) { r.UptimeMinutes = &up }))
	}
	good, raw, far := with(fitted, 60), with(nil, 60), with(fitted, 10000)
	if !(raw.Confidence < good.Confidence) || !slices.Contains(raw.Notes, "model_not_calibrated") {
		t.Errorf("calibrated %v, not %v", good, raw)
	}
	if !(far.Confidence < good.Confidence) || !slices.Contains(far.Notes, "horizon_beyond_training") {
		t.Errorf("a week ahead %v", far)
	}
}

func TestTheSameQuestionGetsTheSameAnswer(t *testing.T) {
	lives := append(fleetOf("m5.large", "us-east-1a", 30, 3, 5), fleetOf("c5.large", "us-east-1b", 30, 5, 9)...)
	a := ask(t, server(t, predict.Config{Records: &fakeRecords{lives: lives}}), m5(in("us-east-1a")))
	for range 5 {
		if b := ask(t, server(t, predict.Config{Records: &fakeRecords{lives: lives}}), m5(in("us-east-1a"))); !proto.Equal(a, b) {
			t.Fatalf("first %v, then %v", a, b)
		}
	}
}
