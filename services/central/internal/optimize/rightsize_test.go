package optimize

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// sized is an engine that makes every container it is told of smaller, and notes the question.
func sized(asked **mlv1.DecisionRequest) func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
	return func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		*asked = req
		answer := &mlv1.DecisionResponse{DecisionType: req.GetDecisionType(), EstimatedSavings: 12.5, ConfidenceScore: 0.8}
		for _, u := range req.GetUsage() {
			answer.RequestChanges = append(answer.RequestChanges, &mlv1.RequestChange{
				Namespace: u.GetNamespace(), Kind: u.GetKind(), Name: u.GetName(), Container: u.GetContainer(), Verdict: "change",
				Cpu: &mlv1.ResourceChange{From: 500, To: 350, Verdict: "change", Reason: "oversized"},
			})
		}
		if len(req.GetUsage()) == 0 {
			return nil, errors.New("asked about nothing")
		}
		answer.ExecutionPlan = []*mlv1.ExecutionStep{{Step: 1, Action: "set_requests"}}
		return answer, nil
	}
}

func (w *world) uses(t *testing.T) {
	t.Helper()
	must(t, w.Store.AddUsage(t.Context(), w.cluster, time.Now(), &fleetv1.ClusterUsage{Workloads: []*fleetv1.WorkloadUsage{{
		Namespace: "shop", Kind: "Deployment", Name: "web", Replicas: 2, Containers: []*fleetv1.ContainerSample{
			{Container: "app", CpuMillicores: 40, MemoryBytes: 64 << 20, Requests: &fleetv1.Resources{CpuMillicores: 500}},
		},
	}}}))
}

func TestSizesAreAdviceWhateverTheMode(t *testing.T) {
	w := newWorld(t) // automatic
	w.uses(t)
	var asked *mlv1.DecisionRequest
	w.decide = sized(&asked)
	id := w.startOf(t, "rightsize")
	told := w.story(t, id)
	equal(t, "status", told.GetStatus(), "completed")
	equal(t, "dry run", told.GetDryRun(), true)
	equal(t, "message", told.GetErrorMessage(), "recommended only, for 1 container: CloudOptim does not set requests; apply it in your manifests")
	equal(t, "savings", told.GetEstimatedSavings(), 12.5)
	equal(t, "came of it", told.GetActualSavings(), 0)
	equal(t, "alive", w.alive(), untouched)
	equal(t, "tasks", len(w.done), 0)

	if u := asked.GetUsage(); len(u) != 1 || u[0].GetName() != "web" || u[0].GetRequests().GetCpuMillicores() != 500 || u[0].GetHours()[0].GetCpu().GetMax() != 40 {
		t.Errorf("ml was told of %v", u)
	}
	if asked.GetRequirements().GetFields()["instances"].GetBoolValue() || asked.GetConstraints() != nil {
		t.Errorf("ml was asked with %v and %v", asked.GetRequirements(), asked.GetConstraints())
	}
	decision, err := w.Store.Decision(t.Context(), id)
	must(t, err)
	if c := decision.GetRequestChanges(); len(c) != 1 || c[0].GetCpu().GetTo() != 350 {
		t.Errorf("the plan has %v", c)
	}
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	if len(story.Request.GetUsage()) != 0 {
		t.Error("usage is kept with the question")
	}
}

func TestSizesAreNotGuessed(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		t.Error("ml was asked about nothing")
		return nil, errors.New("asked about nothing")
	}
	told := w.story(t, w.startOf(t, "rightsize"))
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, told.GetErrorMessage(), "not known what the containers", "has not told yet")
	must(t, w.Store.AddUsage(t.Context(), w.cluster, time.Now(), &fleetv1.ClusterUsage{Unknown: "no_metrics_api"}))
	mentions(t, w.story(t, w.startOf(t, "rightsize")).GetErrorMessage(), "install metrics-server")
}

func TestWhatIsWantedOfSizesIsCheckedAtTheDoor(t *testing.T) {
	w := newWorld(t)
	for field, value := range map[string]*structpb.Value{
		"cpu_required": structpb.NewNumberValue(1), "cpu_quantile": structpb.NewNumberValue(2), "policy": structpb.NewStringValue("bold"),
	} {
		_, err := w.Trigger(t.Context(), noCustomer, "a", &adminv1.TriggerOptimizationRequest{
			ClusterId: w.cluster.String(), OptimizationType: "rightsize",
			Options: &adminv1.OptimizationOptions{Requirements: &structpb.Struct{Fields: map[string]*structpb.Value{field: value}}},
		})
		wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	}
}
