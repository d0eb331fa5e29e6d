package spotoptimize

import (
	"google.golang.org/protobuf/types/known/structpb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Parts of an answer that a large cluster, or one in a hurry, does without.
const (
	partRunnerUp  = "runner_up"
	partLimits    = "limit_costs"
	partMoreTurns = "limit_costs.tighter"
)

// withBeside adds to an answer what stands beside the plan: the runner-up, what each
// limit costs, and what scored the risk.
func (q *problem) withBeside(r *mlv1.DecisionResponse, chosen plan, fresh bool) *mlv1.DecisionResponse {
	r.RiskModel = q.l.risk.Model()
	q.capPrices(r.GetExecutionPlan())
	var out []*structpb.Value
	leaveOut := func(part string) { out = append(out, structpb.NewStringValue(part)) }
	effort := q.effort()
	if fresh && effort > 0 {
		q.spent++
		if p, ok := q.elsewhere(chosen, true); ok {
			q.rivals = append(q.rivals, p)
		}
	}
	if q.spent == 0 {
		leaveOut(partRunnerUp)
	}
	r.RunnerUp = q.runnerUp(chosen, fresh)
	effort = q.effort()
	// The first quick solution is what the others are compared with.
	if effort < 2 {
		leaveOut(partLimits)
	} else {
		costs, whole := q.limitCosts(fresh, effort-1)
		r.LimitCosts = costs
		if !whole {
			leaveOut(partMoreTurns)
		}
	}
	m := r.GetMetadata().GetFields()
	m["risk_model"] = structpb.NewStringValue(r.GetRiskModel())
	m["restart_cost_usd"] = structpb.NewNumberValue(q.l.restartCost)
	if len(out) > 0 {
		m["left_out"] = structpb.NewListValue(&structpb.ListValue{Values: out})
	}
	return r
}

// effort that is left for quick solutions.
func (q *problem) effort() int {
	if q.want.urgent {
		return 0
	}
	return max(0, q.w.spare()-q.spent)
}

// capPrices of launches by the ceilings beside max_price_ratio.
func (q *problem) capPrices(steps []*mlv1.ExecutionStep) {
	for _, step := range steps {
		f := step.GetParameters().GetFields()
		if f["max_price"] == nil {
			continue
		}
		name := f["instance_type"].GetStringValue()
		t, _ := q.w.Market.Type(name)
		onDemand := q.w.Market.OnDemand(q.w.State.GetRegion(), name)
		f["max_price"] = structpb.NewNumberValue(q.l.maxPrice(onDemand, t.VCPU, step.GetAction() == "launch_spot_instances"))
	}
}
