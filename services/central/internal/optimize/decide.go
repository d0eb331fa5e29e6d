package optimize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// decideWithin bounds one question to ml; a cluster of 1,500 nodes takes some 20 s.
const decideWithin = 45 * time.Second

// state takes the picture that the decision is made from.
func (r *run) state(ctx context.Context) (outcome, error) {
	state, err := r.Book.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return outcome{}, err
	}
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return outcome{}, err
	}
	if err := fresh(state, policy.StaleAfter()); err != nil {
		return waiting(time.Second, "%s", fault.From(err).Message), nil
	}
	if n := unpriced(state); n > 0 {
		if err := r.Book.Price(ctx, false); err != nil {
			return outcome{}, err
		}
		return waiting(time.Second, "the prices of %d nodes are not known", n), nil
	}
	pin(state, policy, r.byItself(policy))
	asked := r.story.CreatedAt
	if time.Since(asked) > planLasts { // it is made anew
		asked = time.Now()
	}
	req := &mlv1.DecisionRequest{
		RequestId: r.story.ID.String(), ClusterId: r.story.Cluster.String(), Timestamp: timestamppb.New(asked),
		DecisionType: r.story.Type, CurrentState: state, Requirements: r.story.Options.GetRequirements(),
	}
	if r.story.Type == rightsize {
		req.Requirements, req.Constraints = sizeTerms(r.story.Options)
	} else {
		req.Constraints = r.constraints(state, policy)
	}
	return outcome{
		detail: map[string]any{
			"nodes": state.TotalNodes, "spot_nodes": state.SpotNodes, "pods": state.TotalPods,
			"pending_pods": state.PendingPods, "cost_per_hour": state.CurrentCostPerHour,
		},
		commit: func(ctx context.Context, tx *store.Store) error {
			return tx.SetRequest(ctx, r.story.ID, req, state.CurrentCostPerHour)
		},
	}, nil
}

// constraints are the caller's; the least saving is the policy's unless they say another.
// Zones are those that nodes can be launched in. Where none can, nothing is bought: what
// that would save is only told by a dry run, for the zones that the nodes are in.
func (r *run) constraints(state *fleetv1.ClusterState, policy *guard.Policy) *structpb.Struct {
	fields := maps.Clone(r.story.Options.GetConstraints().GetFields())
	if fields == nil {
		fields = map[string]*structpb.Value{}
	}
	if fields["min_savings_ratio"] == nil {
		fields["min_savings_ratio"] = structpb.NewNumberValue(policy.Values.GetMinSavingsRatio())
	}
	zones := slices.Sorted(maps.Keys(r.account.SubnetIDs))
	if !mayLaunch(r.account) {
		if r.story.Type == "bin_pack" {
			fields["allow_purchases"] = structpb.NewBoolValue(false)
			return &structpb.Struct{Fields: fields}
		}
		zones = zonesOf(state)
	}
	if len(fields["zones"].GetListValue().GetValues()) == 0 {
		list := &structpb.ListValue{}
		for _, zone := range zones {
			list.Values = append(list.Values, structpb.NewStringValue(zone))
		}
		fields["zones"] = structpb.NewListValue(list)
	}
	return &structpb.Struct{Fields: fields}
}

// zonesOf the nodes.
func zonesOf(state *fleetv1.ClusterState) []string {
	zones := map[string]bool{}
	for _, node := range state.GetNodes() {
		if node.GetAvailabilityZone() != "" {
			zones[node.GetAvailabilityZone()] = true
		}
	}
	return slices.Sorted(maps.Keys(zones))
}

func unpriced(state *fleetv1.ClusterState) int {
	n := 0
	for _, node := range state.GetNodes() {
		if node.GetHourlyPrice() == 0 && node.GetInstanceType() != "" {
			n++
		}
	}
	return n
}

// decide asks ml and writes down what is to be launched and taken away.
func (r *run) decide(ctx context.Context) (outcome, error) {
	asking, cancel := context.WithTimeout(ctx, decideWithin)
	defer cancel()
	question, outOfReach, err := r.question(ctx)
	if err != nil || outOfReach != "" {
		return outcome{failure: outOfReach}, err
	}
	decision, err := Ask(asking, r.Decisions, question)
	if err != nil {
		if mayPass(err) {
			return outcome{}, fmt.Errorf("asking ml: %w", err)
		}
		return failed("%s", fault.From(err).Message), nil
	}
	launches := r.launches(decision)
	replaced := r.replaced(decision)
	plan := summaryOf(r.story.Request.GetCurrentState(), decision, replaced)
	is, err := r.rule(ctx, decision, replaced, plan)
	if err != nil {
		return outcome{}, err
	}
	detail := map[string]any{
		"launch": len(launches), "replace": len(replaced), "estimated_savings": decision.GetEstimatedSavings(),
		"confidence_score": decision.GetConfidenceScore(), "risk_assessment": decision.GetRiskAssessment().AsMap(),
		"metadata": decision.GetMetadata().AsMap(),
	}
	return outcome{
		detail: detail, finished: is.over,
		commit: func(ctx context.Context, tx *store.Store) error {
			if err := tx.SetDecision(ctx, r.story.ID, decision); err != nil {
				return err
			}
			if is.over == nil { // what only makes the plan launches nothing
				if err := tx.AddLaunches(ctx, r.story.ID, launches); err != nil {
					return err
				}
			}
			if err := tx.AddReplaced(ctx, r.story.ID, replaced); err != nil {
				return err
			}
			if err := tx.SetPlan(ctx, r.story.ID, plan, contentOf(decision, replaced), decision.GetConfidenceScore()); err != nil {
				return err
			}
			return r.enact(ctx, tx, is)
		},
		news: r.newsOf(is),
	}, nil
}

// mayPass tells trouble that passes from an answer.
func mayPass(err error) bool {
	switch fault.ReasonOf(err) {
	case faultv1.Reason_REASON_UNAVAILABLE, faultv1.Reason_REASON_DEADLINE_EXCEEDED, faultv1.Reason_REASON_RATE_LIMITED,
		faultv1.Reason_REASON_INTERNAL, faultv1.Reason_REASON_CANCELLED, faultv1.Reason_REASON_UNAUTHENTICATED:
		return true
	default:
		return false
	}
}

func (r *run) launches(decision *mlv1.DecisionResponse) []store.Launch {
	var out []store.Launch
	for i, rec := range decision.GetRecommendations() {
		out = append(out, store.Launch{
			Index: i, ClientToken: r.token(i), InstanceType: rec.GetInstanceType(), Zone: rec.GetAvailabilityZone(),
			NodeType: rec.GetNodeType(), Count: int(rec.GetNodeCount()), HourlyPrice: rec.GetHourlyPrice(),
			OnDemandPrice: rec.GetOnDemandHourlyPrice(),
		})
	}
	return out
}

// token names a launch for EC2: derived, so that a crash cannot make another.
func (r *run) token(index int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", r.story.ID, index))
	return "co-" + hex.EncodeToString(sum[:20])
}

// replaced are the nodes to take away, in the order the plan drains them.
func (r *run) replaced(decision *mlv1.DecisionResponse) []store.Replaced {
	nodes := map[string]*fleetv1.NodeMetric{}
	for _, node := range r.story.Request.GetCurrentState().GetNodes() {
		nodes[node.GetNodeName()] = node
	}
	var out []store.Replaced
	for _, step := range decision.GetExecutionPlan() {
		if step.GetAction() != "drain_node" {
			continue
		}
		for _, name := range step.GetParameters().GetFields()["node_names"].GetListValue().GetValues() {
			node := nodes[name.GetStringValue()]
			if node == nil || node.GetInstanceId() == "" {
				continue // not an instance that could be terminated
			}
			out = append(out, store.Replaced{
				Position: len(out), Node: node.GetNodeName(), InstanceID: node.GetInstanceId(), HourlyPrice: node.GetHourlyPrice(),
			})
			delete(nodes, node.GetNodeName())
		}
	}
	return out
}
