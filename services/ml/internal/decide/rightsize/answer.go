package rightsize

import (
	"maps"

	"google.golang.org/protobuf/types/known/structpb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// finish the response: savings, confidence, the steps that set requests, metadata.
func (a *answer) finish(containers []usage.Container, r *mlv1.DecisionResponse) {
	ofRequests, weight, confidence, changed := 0.0, 0.0, 0.0, 0
	var steps []*mlv1.ExecutionStep
	for i, c := range r.GetRequestChanges() {
		ofRequests += c.GetSavingsPerMonth()
		w := float64(max(1, c.GetReplicas()))
		weight, confidence = weight+w, confidence+w*c.GetConfidence()
		if c.GetVerdict() == verdictChange {
			changed++
			steps = append(steps, setRequests(containers[i], c))
		}
	}
	r.ExecutionPlan = append(r.ExecutionPlan, steps...)
	for i, step := range r.ExecutionPlan {
		step.Step = int32(i + 1)
	}
	r.ConfidenceScore = figure.Digits(confidence / weight)
	ofNodes := r.GetEstimatedSavings()
	// Savings of nodes are had by this plan; those of requests once nodes go, so the
	// two are never added up.
	if len(r.GetRecommendations()) == 0 {
		r.EstimatedSavings = figure.Cents(max(0, ofRequests))
	}
	all := map[string]any{}
	maps.Copy(all, a.req.GetMetadata().AsMap())
	maps.Copy(all, map[string]any{
		"engine": "rightsize/1", "containers": float64(len(containers)), "containers_changed": float64(changed),
		"request_savings_per_month": figure.Cents(ofRequests), "node_savings_per_month": ofNodes,
		"usd_per_vcpu_hour": a.money.vcpu, "usd_per_gib_hour": a.money.gib, "prices_from": a.money.origin,
		"risk_interval": "wilson_95_hours",
	})
	r.Metadata = figure.Struct(all)
}

// setRequests is the step of one container, and what takes it back.
func setRequests(u usage.Container, c *mlv1.RequestChange) *mlv1.ExecutionStep {
	amounts := func(cpu, memory, cpuLimit, memoryLimit int64) *structpb.Struct {
		return figure.Struct(map[string]any{
			"namespace": c.GetNamespace(), "kind": c.GetKind(), "name": c.GetName(), "container": c.GetContainer(),
			"cpu_millicores": float64(cpu), "memory_bytes": float64(memory),
			"cpu_limit_millicores": float64(cpuLimit), "memory_limit_bytes": float64(memoryLimit),
		})
	}
	before := amounts(c.GetCpu().GetFrom(), c.GetMemory().GetFrom(), u.GetLimits().GetCpuMillicores(), u.GetLimits().GetMemoryBytes())
	return &mlv1.ExecutionStep{
		Action:     "set_requests",
		Parameters: amounts(c.GetCpu().GetTo(), c.GetMemory().GetTo(), c.GetCpu().GetLimit(), c.GetMemory().GetLimit()),
		Undo:       &mlv1.UndoStep{Action: "set_requests", Parameters: before},
	}
}
